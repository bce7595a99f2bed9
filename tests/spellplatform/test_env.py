"""Settings as people write them: in `.env` files, in containers' environments. Nothing that is refused is shown."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from core.dotenv import parse
from github_integration.auth import private_key
from spellplatform.env import (
    BadSetting,
    Env,
    database_config,
    host_names,
    host_of,
    mail_config,
    networks,
    problem_of_public_url,
    read_file,
    repository_name,
    umask_of,
)
from tests import warm
from tests.conftest import marking
from tests.strong import SECRET_KEY, WEBHOOK_SECRET

ROOT = Path(__file__).resolve().parents[2]
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/IBAA==\nQk0=\n-----END RSA PRIVATE KEY-----"
SECRET = "Hush/Hush"

# --- .env ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", "b"),
        ("A = b ", "b"),
        ("export A = b", "b"),
        ("  export\tA=b\t", "b"),
        ("A=b\r\n", "b"),
        ("A=", ""),
        ("A=b # part of it", "b # part of it"),
        ("A=it's", "it's"),
        ("A=b=c==", "b=c=="),
        ("A='b c' # a remark", "b c"),
        ('A = "b # c" ', "b # c"),
        ("A=''", ""),
        (f"A='{PEM}'", PEM),
        (f'export A = "{PEM}"\nB=1', PEM),
        (f"A='{PEM}'\r\nB=1\r\n".replace("\n", "\r\n").replace("\r\r", "\r"), PEM),
        ('A="a \\"quoted\\" \\\\ word\\n"', 'a "quoted" \\ word\\n'),
        ("# it's a remark\n\n   # and another\nA=b", "b"),
    ],
)
def test_a_line_is_read_as_it_was_meant(text, value):
    found, problems = parse(text)
    assert problems == []
    assert found["A"] == value


@pytest.mark.parametrize("mark", ["'", '"'])
def test_a_private_key_with_its_line_breaks_is_read_whole(mark):
    pem = (ROOT / "tests" / "data" / "app.pem").read_text()
    found, problems = parse(f"KEY={mark}{pem}{mark}\nAFTER=1\n")
    assert (problems, found["AFTER"]) == ([], "1")
    assert private_key(found["KEY"]) == pem.strip()


def test_a_lone_quotation_mark_within_a_value_or_a_comment_swallows_nothing():
    found, problems = parse('# a 5" disk\nONE=1\n\nTWO="2"\nTHREE=it"s\nFOUR=4\n')
    assert (found, problems) == ({"ONE": "1", "TWO": "2", "THREE": 'it"s', "FOUR": "4"}, [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"A=b\n\nexport {SECRET}", "Line 3 is not NAME=value."),
        (f"GITHUB_TOKEN {SECRET}", "Line 1 (GITHUB_TOKEN) is not NAME=value."),
        (f"GITHUB_TOKEN: {SECRET}", "Line 1 (GITHUB_TOKEN) is not NAME=value."),
        (f"B=1\nA='{SECRET}", "Line 2 (A): text follows its closing quotation mark, or there is none."),
        (f"A=\"{SECRET}\nB='c'", "Line 1 (A): text follows"),
        (f"A='it's {SECRET}'", "Line 1 (A): text follows"),
        (f"A={PEM}", "Line 2 is not NAME=value."),
        (f"A={SECRET}\0", "Line 1 (A) holds a NUL character."),
        ("SECRETLOOKINGLIKEANAME", "Line 1 is not NAME=value."),
    ],
)
def test_a_line_that_can_not_be_read_is_named_and_not_shown(tmp_path, text, told):
    file = tmp_path / ".env"
    file.write_text(text)
    into: dict[str, str] = {}
    with pytest.raises(BadSetting) as refused:
        read_file(file, into)
    assert told in str(refused.value)
    for secret in (SECRET, "MIIE", "Qk0", "SECRETLOOKING"):
        assert secret not in str(refused.value)
    assert into == {}


def test_all_lines_that_can_not_be_read_are_named_at_once(tmp_path):
    file = tmp_path / ".env"
    file.write_text("ONE one\nA=1\nTWO two\n" + "more\n" * 20)
    with pytest.raises(BadSetting, match=r"Line 1 \(ONE\).*Line 3 \(TWO\).*And 14 more lines"):
        read_file(file, {})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path, encoding):
    (tmp_path / ".env").write_bytes("A=größe\nB=2".encode(encoding))
    into = {"B": "the environment wins"}
    read_file(tmp_path / ".env", into)
    assert into == {"A": "größe", "B": "the environment wins"}


def test_another_encoding_is_told_by_its_line(tmp_path):
    (tmp_path / ".env").write_bytes(b"A=1\nB=gr\xf6\xdfe\n")
    with pytest.raises(BadSetting, match=r"line 2: this is not UTF-8"):
        read_file(tmp_path / ".env", {})


# --- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", [{}, {"A": ""}, {"A": "  "}])
def test_blank_means_the_default(blank):
    env = Env(blank)
    assert env.str("A", default="x") == "x"
    assert env.str("A", default="one", among=("one", "two")) == "one"
    assert env.int("A", default=7, least=1) == 7
    assert env.int("A", default=None) is None
    assert env.float("A", default=0.5, least=1) == 0.5
    assert env.bool("A", default=True) is True
    assert env.list("A", default=["x"]) == ["x"]


def test_values_are_read_with_what_surrounds_them():
    assert Env({"A": " 12 "}).int("A", default=0) == 12
    assert Env({"A": "1.5 "}).float("A", default=0) == 1.5
    assert Env({"A": " Yes"}).bool("A", default=False) is True
    assert Env({"A": "OFF"}).bool("A", default=True) is False
    assert Env({"A": "warning "}).str("A", default="", among=("INFO", "WARNING")) == "WARNING"
    assert Env({"A": " a, b,,c "}).list("A", default=[]) == ["a", "b", "c"]
    assert Env({"A": "$B", "B": "b"}).str("A", default="") == "b"
    assert Env({"A": "$ecret"}).str("A", default="") == "$ecret"


NUMBERS = {
    "whole": lambda env: env.int("THE_NAME", default=1, least=1),
    "any": lambda env: env.float("THE_NAME", default=1, least=0.5),
    "word": lambda env: env.str("THE_NAME", default="a", among=("a", "b")),
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("value", [SECRET, "1O", "1.5.1", "nan", "inf", "-17", "0.25", "1e3000"])
def test_what_can_not_be_read_is_told_by_name_alone(kind, value):
    with pytest.raises(BadSetting) as refused:
        NUMBERS[kind](Env({"THE_NAME": value}))
    assert str(refused.value).startswith("THE_NAME must be ")
    assert value not in str(refused.value)


@pytest.mark.parametrize("days", ["36501", "999999999999999999"])
def test_no_more_days_than_can_be_reckoned_with(days):
    assert Env({"A": "36500"}).days("A", default=0) == 36_500
    with pytest.raises(BadSetting, match="A must be 36500 at most"):
        Env({"A": days}).days("A", default=0)


def test_a_truth_that_is_none_is_refused():
    with pytest.raises(BadSetting, match="DEBUG must be true or false"):
        Env({"DEBUG": "flase"}).bool("DEBUG", default=False)


@pytest.mark.parametrize(
    ("url", "engine", "name"),
    [
        ("postgresql://u:p%40ss@db.example.com:5432/spells", "postgresql", "spells"),
        ("postgres://u@[::1]/spells?sslmode=require", "postgresql", "spells"),
        ("sqlite:////var/lib/x.sqlite3", "sqlite3", "/var/lib/x.sqlite3"),
        ("sqlite:////tmp/a b (é)/x.sqlite3", "sqlite3", "/tmp/a b (é)/x.sqlite3"),
    ],
)
def test_database_urls(url, engine, name):
    config = database_config(url)
    assert (config["ENGINE"].rpartition(".")[2], config["NAME"]) == (engine, name)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("console:", ("console", "", 0, "", "", False, False)),
        ("smtp://u%40x:p%2Fq@mail.example.com", ("smtp", "mail.example.com", 587, "u@x", "p/q", True, False)),
        ("smtps://u:p@mail.example.com", ("smtp", "mail.example.com", 465, "u", "p", False, True)),
        (" smtp://localhost?tls=no ", ("smtp", "localhost", 25, "", "", False, False)),
        ("smtp://localhost:1025?tls=no", ("smtp", "localhost", 1025, "", "", False, False)),
    ],
)
def test_mail_urls(url, server):
    found = mail_config(url)
    backend = found.backend.removeprefix("django.core.mail.backends.").removesuffix(".EmailBackend")
    assert (backend, found.host, found.port, found.user, found.password, found.starttls, found.tls) == server


@pytest.mark.parametrize(
    "url",
    [
        *("mail.example.com", f"http://u:{SECRET}@h", f"smtp://u:{SECRET}@", f"smtp://u:{SECRET}@h:x"),
        *(f"smtp://u:{SECRET}@h/path", f"smtp://u:a#{SECRET}@h", "smtp://h?ssl=1", "smtps://h?tls=no"),
    ],
)
def test_bad_mail_urls_are_refused_without_being_shown(url):
    with pytest.raises(BadSetting, match="EMAIL_URL") as refused:
        mail_config(url)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "Hush",
        "Hush://u:p@h/n",
        "mysql://u:Hush@h/n",
        "postgresql://u:Hush@h",
        "postgresql://u:Hush@h:port/n",
        "sqlite://Hush/x.sqlite3",
        "postgresql://[Hush",
        "postgresql//spells:Hush@h/n",
        "://u:Hush@h/n",
        "postgresql://u:1/Hush@h/n",
        "postgresql://u:1#Hush@h/n",
        "postgresql://u:p@h/n#Hush",
        "sqlite:////tmp/Hush#Hush",
    ],
)
def test_a_database_that_can_not_be_used_is_refused_without_its_password(url):
    with pytest.raises(BadSetting) as refused:
        database_config(url)
    assert str(refused.value).startswith("DATABASE_URL ")
    assert "Hu" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://[::1]:8000", "[::1]"),
        ("http://[2001:DB8::1]", "[2001:db8::1]"),
        ("https://Spells.example.com:8443", "spells.example.com"),
        ("http://10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_host_of_an_address(url, host):
    assert host_of(url) == host
    assert problem_of_public_url(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        *("https://a.example/spells", "https://a.example/?x", "https://a.example#x", "https://u@a.example"),
        *("a.example", "//a.example", "https://", "http://[::1", "http://a:b", "ftp://a"),
    ],
)
def test_an_address_that_links_can_not_begin_with_is_told_so(url):
    assert problem_of_public_url(url).startswith("PUBLIC_URL must ")


@pytest.mark.parametrize(
    "text",
    [
        *("acme/spells", " acme/spells ", "acme/spells.git", "https://github.com/acme/spells", "acme/spells/"),
        *(
            "https://github.com/acme/spells.git",
            "https://ghe.example.com/acme/spells/",
            "git@github.com:acme/spells.git",
        ),
        "ssh://git@github.com/acme/spells.git",
    ],
)
def test_a_repository_may_be_given_as_github_shows_it(text):
    assert repository_name(text) == "acme/spells"


@pytest.mark.parametrize("text", ["acme", "acme/spells/tree/main", "https://github.com/acme", "a b/c", "acme/größe"])
def test_what_is_no_repository_is_refused(text):
    with pytest.raises(BadSetting, match="GITHUB_REPOSITORY must be owner/name"):
        repository_name(text)


# --- the programs --------------------------------------------------------------------------------------------------


@pytest.fixture
@marking("processes")
def copy(tmp_path: Path) -> Path:
    """The project in a folder of its own, where a `.env` may be written."""
    shutil.copytree(ROOT / "spellplatform", tmp_path / "spellplatform", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", tmp_path)
    for name in (
        "core",
        "accounts",
        "casts",
        "payments",
        "github_integration",
        "webhooks",
        "localgithub",
        "localstripe",
        "templates",
    ):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def started(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ}
    return warm.run(
        [sys.executable, *command],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        timeout=120,
    )


GUNICORN = ("-m", "gunicorn", "-c", "spellplatform/gunicorn.conf.py", "spellplatform.asgi")
PROGRAMS = [("manage.py", "runworker"), ("manage.py", "doctor"), GUNICORN]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program[-1])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"SECRET_KEY {SECRET}", "Line 2 (SECRET_KEY) is not NAME=value."),
        (f"LINK_DAYS={SECRET}", "LINK_DAYS must be a whole number, at least 1."),
        (f"DATABASE_URL={SECRET}", "DATABASE_URL names no database that this service can use."),
        (f"DATABASE_URL=postgresql//u:{SECRET}@h/n", "DATABASE_URL names no database that this service can use."),
        (f"ALLOWED_HOSTS=https://{SECRET}", "ALLOWED_HOSTS must be host names, without scheme, port or path"),
        (f"GITHUB_WORKFLOW_FILE=.github/workflows/{SECRET}.yml", "GITHUB_WORKFLOW_FILE must be the name of a file"),
        (f"PUBLIC_URL=https://spells.example.com/{SECRET}", "PUBLIC_URL must be scheme, host and port alone"),
    ],
)
def test_every_program_says_which_setting_in_one_sentence(copy: Path, program, line, told):
    (copy / ".env").write_text(f"DEBUG=1\n{line}\n")
    refused = started(copy, *program, BIND="127.0.0.1:0")
    printed = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert " ".join(told.split()) in " ".join(printed.split())
    assert "Traceback" not in printed
    assert "Warning" not in printed
    assert SECRET not in printed


def test_a_container_that_hands_over_blank_names_gets_the_defaults(copy: Path):
    names = ("LINK_DAYS", "DEBUG", "DATABASE_URL", "VAR_DIR", "GITHUB_APP_INSTALLATION_ID", "LOG_LEVEL", "WEB_THREADS")
    (copy / ".env").write_text("\ufeffexport SECRET_KEY = 'x'\nGITHUB_WEBHOOK_SECRET=y\n", encoding="utf-8")
    code = "import spellplatform.settings as s; print(s.LINK_DAYS, s.DEBUG, s.VAR_DIR, s.WEB_THREADS, s.SECRET_KEY)"
    shown = started(copy, "-c", code, **dict.fromkeys(names, ""))
    assert shown.stdout.split() == ["7", "False", str(copy / "var"), "4", "x"], shown.stderr


@pytest.mark.parametrize("program", [("manage.py", "check"), *PROGRAMS], ids=lambda program: program[-1])
def test_a_folder_in_place_of_the_file_is_told(copy: Path, program):
    (copy / ".env").mkdir()
    refused = started(copy, *program, BIND="127.0.0.1:0")
    assert refused.returncode != 0
    told = f"{copy / '.env'} is a folder. Put a file in its place, or remove it."
    assert (refused.stdout + refused.stderr).strip() == told


def test_a_file_that_this_user_may_not_read_is_told(tmp_path: Path):
    with (
        mock.patch.object(Path, "read_bytes", side_effect=PermissionError(13, "Permission denied")),
        pytest.raises(BadSetting, match=r"\.env can't be read: Permission denied\. "),
    ):
        read_file(tmp_path / ".env", {})


FOR_GUNICORN = """
import sys, json, runpy
conf = runpy.run_path("spellplatform/gunicorn.conf.py")
import os, spellplatform.settings as s
print(json.dumps([conf["bind"], conf["workers"], conf["form"], conf["loglevel"], s.SECRET_KEY]))
"""


def test_a_setting_is_read_from_the_file_that_is_named(tmp_path: Path):
    file = tmp_path / "key"
    values = {"SECRET_KEY_FILE": str(file), "LINK_DAYS_FILE": "$WHERE", "WHERE": str(tmp_path / "days")}
    (tmp_path / "days").write_text("9\n")
    for written, read in (("$a b #1\n", "$a b #1"), ("\ufeffx\r\n", "x"), (" x ", " x "), ("-----\nx\n\n", "-----\nx")):
        file.write_bytes(written.encode())
        assert Env(values).str("SECRET_KEY", default="none") == read
    assert Env(values).int("LINK_DAYS", default=7) == 9
    assert Env({"SECRET_KEY_FILE": " "}).str("SECRET_KEY", default="none") == "none"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, "names no file that can be read: No such file or directory."),
        (b"\n", "names a file that is empty"),
        (b"\xff\xfe\x00", "names no file that can be read: it is not a file of UTF-8 text."),
        (b"a\x00b", "holds a NUL"),
        (b"x" * 70_000, "longer than 65,536 bytes"),
    ],
)
def test_a_file_that_holds_no_setting_is_told_without_its_path_or_text(tmp_path: Path, written, told):
    file = tmp_path / "Hush"
    if written is not None:
        file.write_bytes(written)
    with pytest.raises(BadSetting, match=f"SECRET_KEY_FILE .*{told}") as refused:
        Env({"SECRET_KEY_FILE": str(file)}).str("SECRET_KEY", default="")
    assert "Hush" not in str(refused.value)
    with pytest.raises(BadSetting, match="names no file that can be read: Is a directory"):
        Env({"SECRET_KEY_FILE": str(tmp_path)}).str("SECRET_KEY", default="")


def test_a_setting_that_is_given_twice_is_refused():
    with pytest.raises(BadSetting, match="SECRET_KEY and SECRET_KEY_FILE are both set"):
        Env({"SECRET_KEY": "Hush", "SECRET_KEY_FILE": "Hush"}).str("SECRET_KEY", default="")


@pytest.mark.parametrize(("text", "mask"), [("077", 0o77), ("27", 0o27), ("0022", 0o22), (" 007 ", 0o7)])
def test_umask(text, mask):
    assert umask_of(text) == mask


@pytest.mark.parametrize("text", ["777", "0o77", "", "8", "7", "-77", "99", "177"])
def test_a_umask_that_is_none_or_locks_ourselves_out(text):
    with pytest.raises(BadSetting, match="UMASK must be octal"):
        umask_of(text)


def test_gunicorn_and_the_application_read_the_file_alike(copy: Path):
    (copy / ".env").write_text(
        "SECRET_KEY=xK9$mQ2v fifty-random & more # all of it\nBIND = '127.0.0.1:8123'\nexport WEB_PROCESSES=3\n"
        "LOG_FORMAT=$LOG\nLOG=Console\nLOG_LEVEL=warning\n"
    )
    shown = started(copy, "-c", FOR_GUNICORN)
    told = ["127.0.0.1:8123", 3, "console", "warning", "xK9$mQ2v fifty-random & more # all of it"]
    assert json.loads(shown.stdout) == told, shown.stderr
    shown = started(copy, "-c", FOR_GUNICORN, BIND="[::1]:1", WEB_PROCESSES=" ", LOG="json")
    assert json.loads(shown.stdout)[:3] == ["[::1]:1", 1, "json"], shown.stderr


@pytest.mark.parametrize("command", [("--help",), ("check",), ("doctor", "--help")], ids=lambda command: command[0])
def test_the_demo_never_opens_the_file(copy: Path, command):
    (copy / ".env").mkdir()  # who opens it says so
    settings = {"PUBLIC_URL": "http://127.0.0.1:9", "SECRET_KEY": SECRET_KEY, "GITHUB_WEBHOOK_SECRET": WEBHOOK_SECRET}
    (copy / "var" / "demo").mkdir(parents=True)
    (copy / "var" / "demo" / "settings.json").write_text(json.dumps(settings))
    ran = started(copy, "manage.py", "demo", *command)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("command", [("migrate",), ("createsuperuser",), ("showmigrations",)])
def test_a_database_that_does_not_answer_is_told_in_one_sentence(copy: Path, command):
    url = "postgresql://u:Hush@127.0.0.1:9/n"
    refused = started(copy, "manage.py", *command, DEBUG="1", DATABASE_URL=url)
    assert refused.returncode == 1
    told = refused.stderr.strip().splitlines()
    assert told[-1].startswith("The database can't be used: connection ")
    assert "Traceback" not in refused.stderr
    assert "Hush" not in refused.stdout + refused.stderr


def test_a_folder_for_sqlite_that_can_not_be_made_is_told(copy: Path):
    (copy / "file").touch()
    refused = started(copy, "manage.py", "check", DEBUG="1", DATABASE_URL=f"sqlite:///{copy}/file/below/x.sqlite3")
    assert refused.stderr.startswith("The folder of the SQLite file can't be made: ")
    assert "Traceback" not in refused.stderr


def test_a_web_process_count_that_is_none_is_told_by_its_name(copy: Path):
    refused = started(copy, *GUNICORN, WEB_PROCESSES="many", DEBUG="1")
    assert refused.stderr.strip() == "WEB_PROCESSES must be a whole number, at least 1."


@pytest.mark.parametrize("host", ["a.example", ".a.example", "*", "[::1]", "10.0.0.1", "localhost", "a.example."])
def test_hosts_that_may_be_allowed(host):
    assert host_names([host]) == [host]


@pytest.mark.parametrize("host", ["https://a", "a.example:8000", "a/b", "*.a.example", "a b", "::1", "[::1]:80"])
def test_hosts_that_no_request_could_name_are_refused(host):
    with pytest.raises(BadSetting, match="ALLOWED_HOSTS must be host names"):
        host_names(["a.example", host])


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["127.0.0.0/8", "::1"], ["127.0.0.0/8", "::1/128"]),
        (["10.0.0.1"], ["10.0.0.1/32"]),
        (["None"], []),
        (["10.0.0.1/8"], None),
        (["proxy.example.com"], None),
        (["none", "10.0.0.1"], None),
    ],
)
def test_trusted_proxies_are_networks(given, taken):
    if taken is None:
        with pytest.raises(BadSetting, match="TRUSTED_PROXIES must be"):
            networks(given)
    else:
        assert networks(given) == taken
