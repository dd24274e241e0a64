"""High-water marks: what they say of a store that is older than they are (threats S-105)."""

import shutil
import threading

import attrs
import pytest

from scepd.observe.audit import Head
from scepd.refusal import Unavailable
from scepd.store.marks import MarkFile, Marks, from_json, to_json
from scepd.store.position import Position
from scepd.store.published import PublishedCrl, newest_published
from scepd.store.read_only import ReadOnly, standstill
from scepd.store.standing import compare, read_pair, settle

from .building import BEGIN, Device, add_challenge, enrol, make_crl, open_repository, prepare
from .sealing import Sealer

HIGH = Position({"main": 7, "other": 1}, {"n1/0": Head(9, b"\1" * 32)}, 5, 6, 7, 8)


@pytest.fixture
def marks(directory):
    return MarkFile.within(directory)


def settled(repository, marks):
    return settle(repository._connection, marks, "alpha", BEGIN)


def test_S105_marks_only_rise_and_survive_their_form(marks):
    assert marks.read() is None
    marks.raise_to(HIGH)
    marks.raise_to(Position({"main": 3}, {"n1/0": Head(4, b"\2" * 32)}, 9))
    assert marks.read().position == attrs.evolve(HIGH, certificates=9)
    assert marks.path.stat().st_mode & 0o777 == 0o600
    marks.reserve_crl("main", 12)
    marks.reserve_crl("main", 11)
    assert (marks.last_crl("main"), marks.last_crl("other"), marks.last_crl("none")) == (12, 1, 0)
    assert from_json(to_json(marks.read())) == marks.read()


@pytest.mark.parametrize("text", ["seven", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "pair": 1}'])
def test_marks_that_cannot_be_read_are_no_marks_of_nothing(marks, text):
    marks.path.write_text(text)
    with pytest.raises(Unavailable, match="cannot be read"):
        marks.raise_to(HIGH)


def test_marks_that_cannot_be_written_say_so(tmp_path):
    with pytest.raises(Unavailable, match="cannot be written"):
        MarkFile.within(tmp_path / "nowhere").raise_to(HIGH)


def test_S105_writers_of_several_threads_lose_nothing(marks):
    def write(name):
        for number in range(1, 30):
            marks.reserve_crl(name, number)

    threads = [threading.Thread(target=write, args=(f"i{count}",)) for count in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert marks.read().reserved == {f"i{count}": 29 for count in range(4)}


def test_S105_a_store_and_its_marks_find_each_other_and_stay_together(sound, issuer, marks):
    assert settled(sound, marks) is None
    pair = read_pair(sound._connection, "alpha")
    assert pair == marks.read().pair != ""
    enrol(sound, issuer, Device.make())
    assert settled(sound, marks) is None
    assert marks.read().position == sound.position()
    assert read_pair(sound._connection, "alpha") == pair


def test_S105_who_died_between_file_and_store_finds_them_together(repository, issuer, marks):
    enrol(repository, issuer, Device.make())
    marks.replace(Marks("word", repository.position()))
    assert settled(repository, marks) is None
    assert read_pair(repository._connection, "alpha") == "word"


def restored(directory, marks, repository, change):
    """Return a store that was copied, settled, and put back after a change."""
    settled(repository, marks)
    repository._connection.connection.exec_driver_sql(f"VACUUM INTO '{directory / 'copy'}'")
    change(repository)
    settled(repository, marks)
    for path in directory.glob("scepd.sqlite*"):
        path.unlink()
    shutil.move(directory / "copy", directory / "scepd.sqlite")
    return open_repository(directory)


@pytest.mark.parametrize("what", ["an enrolment", "a CRL", "a challenge"])
def test_S105_an_older_store_is_read_only_and_says_what_it_lacks(directory, marks, repository, issuer, what):
    changes = {
        "an enrolment": lambda store: enrol(store, issuer, Device.make("CN=r2")),
        "a CRL": lambda store: store.add_crl(make_crl(issuer, 1), who="ann"),
        "a challenge": lambda store: store.add_challenge("routers", b"d", expires=BEGIN, created_by="ann"),
    }
    words = {"an enrolment": "1 certificates", "a CRL": "number 0, 1 was published", "a challenge": "1 challenges"}
    enrol(repository, issuer, Device.make())
    old = restored(directory, marks, repository, changes[what])
    before = old.generation()
    found = settled(old, marks)
    assert words[what] in " ".join(compare(old._connection, marks, "alpha").lost)
    assert "an older store was restored" in found.cause
    assert old.generation() == before + 1
    assert settled(old, marks) == found == standstill(old._connection)
    for act in (
        lambda: enrol(old, issuer, Device.make("CN=r3")),
        lambda: old.add_crl(make_crl(issuer, 9), who="ann"),
        lambda: old.add_challenge("routers", b"e", expires=BEGIN, created_by="ann"),
        lambda: old.switch_profile("routers", enabled=False, who="ann"),
    ):
        with pytest.raises(ReadOnly) as refused:
            act()
        assert refused.value.retry_after >= 60
    assert old.take_lease("crl:main", "me", BEGIN)
    old.close()


def test_S105_missing_marks_and_those_of_another_store_are_no_permission(directory, marks, repository):
    settled(repository, marks)
    kept = marks.read()
    marks.replace(attrs.evolve(kept, pair="another"))
    assert "another store" in compare(repository._connection, marks, "alpha").cause
    marks.path.write_text("damaged")
    assert "cannot be read" in compare(repository._connection, marks, "alpha").cause
    marks.path.unlink()
    assert "missing" in compare(repository._connection, marks, "alpha").cause
    assert "missing" in settled(repository, marks).cause
    assert not marks.path.exists()


def test_S105_a_store_with_another_history_shows(repository, issuer, marks):
    enrol(repository, issuer, Device.make())
    settled(repository, marks)
    kept = marks.read()
    owner, head = next(iter(kept.position.audit.items()))
    other = {owner: attrs.evolve(head, hash=b"\7" * 32)}
    marks.replace(attrs.evolve(kept, position=attrs.evolve(kept.position, audit=other)))
    (words,) = compare(repository._connection, marks, "alpha").lost
    assert words == f"audit row {head.sequence} of {owner}: the store has another in its place"


def test_S105_the_newest_crl_is_kept_beside_the_store(directory, issuer):
    file, crl = PublishedCrl.within(directory, "main"), make_crl(issuer, 3, serials=(1, 2))
    assert file.read() is None
    file.keep(crl)
    assert attrs.evolve(file.read(), this_update=crl.this_update, next_update=crl.next_update) == crl
    assert file.path.stat().st_mode & 0o777 == 0o600
    PublishedCrl.within(directory, "other").path.write_bytes(b"no CRL")
    assert list(newest_published(directory, ["main", "other", "none"])) == ["main"]
    with pytest.raises(Unavailable, match="cannot be written"):
        PublishedCrl.within(directory / "nowhere", "main").keep(crl)


def roll_back(directory, kept):
    """Put a snapshot of a whole directory back: everything in it is as it was then."""
    shutil.rmtree(directory)
    shutil.copytree(kept, directory)


@pytest.mark.parametrize("outside", ["marks", "seals"])
def test_S105_a_snapshot_of_the_whole_state_directory_shows_by_what_is_on_another_volume(tmp_path, outside):
    state, volume, kept = tmp_path / "state", tmp_path / "volume", tmp_path / "kept"
    state.mkdir()
    volume.mkdir()
    prepare(state)
    store = open_repository(state)
    sealer = Sealer.within(volume if outside == "seals" else state)
    marks = MarkFile.within(volume if outside == "marks" else state, sealer.file.path)
    add_challenge(store)
    sealer.seal(store)
    assert settled(store, marks) is None
    store.close()
    shutil.copytree(state, kept)
    store = open_repository(state)
    add_challenge(store)
    sealer.seal(store)
    assert settled(store, marks) is None  # what is sealed is in the store
    store.close()
    roll_back(state, kept)
    store = open_repository(state)
    assert "1 audit rows of alpha/0 (after row 1)" in settled(store, marks).cause
    with pytest.raises(ReadOnly):
        add_challenge(store)
    store.close()


def test_S105_without_another_volume_a_snapshot_of_everything_shows_nowhere(tmp_path):
    state, kept = tmp_path / "state", tmp_path / "kept"
    state.mkdir()
    prepare(state)
    store, marks = open_repository(state), MarkFile.within(state)
    assert settled(store, marks) is None
    store.close()
    shutil.copytree(state, kept)
    store = open_repository(state)
    add_challenge(store)
    assert settled(store, marks) is None
    store.close()
    roll_back(state, kept)
    store = open_repository(state)
    assert settled(store, marks) is None
    store.close()


def test_S105_S124_a_seal_of_another_history_or_of_a_store_without_marks_stops_too(tmp_path):
    prepare(tmp_path)
    store, sealer = open_repository(tmp_path), Sealer.within(tmp_path)
    marks = MarkFile.within(tmp_path, sealer.file.path)
    sealer.file.path.write_text("damaged\n")
    assert marks.sealed() == {}  # told by the duty that seals
    sealer.file.path.unlink()
    add_challenge(store)
    sealer.seal(store)
    (seal,) = [sealer.file.newest()]
    other = attrs.evolve(seal, number=2, heads={"alpha/0": attrs.evolve(seal.heads["alpha/0"], hash=b"\7" * 32)})
    sealer.file.append([other])
    assert "audit row 1 of alpha/0: the store has another in its place" in compare(store._connection, marks, "alpha").cause
    sealer.file.append([attrs.evolve(seal, number=3, heads={"gone/0": seal.heads["alpha/0"]})])
    assert not marks.path.exists()
    assert "1 audit rows of gone/0" in compare(store._connection, marks, "alpha").cause
    store.close()
