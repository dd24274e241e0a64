# The two commands: `make run` serves a first CA from a token of its own, `make test` proves the tree.
DIR     ?= var
HTTP    ?= 127.0.0.1:8080
HTTPS   ?= 127.0.0.1:8443
WORKERS ?=
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
SCALE   ?= 1
TOKEN   ?= softhsm2

RUN_PACKAGES  := softhsm2 python3-venv
# The tokens beside SoftHSM: p11-kit's server and client, openCryptoki, a software TPM.
TOKEN_PACKAGES := p11-kit p11-kit-modules opencryptoki libtpm2-pkcs11-1 libtpm2-pkcs11-tools tpm2-tools tpm2-abrmd libtss2-tcti-tabrmd0 swtpm swtpm-tools
TEST_PACKAGES := $(RUN_PACKAGES) opensc openssl scep strongswan-pki libstrongswan-standard-plugins libstrongswan-extra-plugins certmonger dbus curl gcc libc6-dev nginx-light fail2ban faketime $(TOKEN_PACKAGES)

LIVE := tests/contract/test_key.py tests/hsm/test_signing.py tests/hsm/test_decryption.py tests/live

.PHONY: run test test-long live bench bench-long checklist lint setup setup-test pure

run: setup
	@$(BIN)/scepd init --if-needed --directory "$(DIR)" --http "$(HTTP)" --https "$(HTTPS)" $(if $(WORKERS),--workers $(WORKERS))
	@exec $(BIN)/scepd run --welcome --config "$(DIR)/scepd.toml"

setup: $(VENV)/.run
setup-test: $(VENV)/.test

$(VENV)/.run: setup.py softhsm/packages.sh
	@sh softhsm/packages.sh $(RUN_PACKAGES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --config-settings editable_mode=compat --editable .
	@touch $@

$(VENV)/.test: setup.py softhsm/packages.sh
	@sh softhsm/packages.sh $(TEST_PACKAGES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --config-settings editable_mode=compat --editable ".[test]"
	@touch $@ $(VENV)/.run

lint: setup-test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	SCALE=$(SCALE) $(BIN)/python tests/suite.py

test-long: lint
	SCALE=10 $(BIN)/python tests/suite.py

# The live suite on another token: make live TOKEN=softhsm2|opencryptoki|p11-kit|tpm2
live: setup-test
	TOKEN=$(TOKEN) $(BIN)/python -m pytest -s -p tests.selection --durations=10 $(LIVE)

pure: setup-test
	$(BIN)/python -m pytest tests/message tests/x509 tests/profile tests/enroll tests/config

checklist: setup-test
	$(BIN)/python tests/checklist.py

bench: setup-test
	$(BIN)/python -m bench.all --directory "$(DIR)"

bench-long: setup-test
	$(BIN)/python -m bench.all --directory "$(DIR)" --long
