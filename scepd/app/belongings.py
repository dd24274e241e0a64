"""What each lane of a worker owns: a PKCS#11 session, the keys opened in it, a store connection."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import attrs
from sqlalchemy import Engine

from scepd.app.checkpoint import Checkpoints
from scepd.app.clock import UtcClock
from scepd.ca.local import LocalIssuer
from scepd.challenge.digest import load_store_key
from scepd.challenge.one_time import OneTimeChallenge
from scepd.challenge.static import StaticChallenge
from scepd.config.settings import IssuerSettings, Settings
from scepd.enroll.context import Context, Registration
from scepd.hsm.keys import open_decryption_key, open_signing_key, parse_uri
from scepd.hsm.token import Session, Token
from scepd.message.certrep import ReplySigner
from scepd.message.enveloped import Recipient
from scepd.ports import ChallengeMethod
from scepd.profile.model import Profile, StaticRule
from scepd.store.engines import open_engine
from scepd.store.repository import Repository
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.keys import spki_digest
