"""`doctor`: every line for what it is about, against a real server and servers that are not as they should be."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from mlflow_utilities.cli.checks import (
    Outcome,
    certificate_check,
    clock_check,
    environment_check,
    extras_check,
    proxy_check,
    redacted,
    space_check,
    store_check,
    version_check,
)
from support.command_line import CommandLine
from support.stub_server import CUT, Answer, Received, error_answer, json_answer, run_stub

NOW = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)


def outcomes(ended: Any) -> dict[str, str]:
    """Return the outcome of each check."""
    return {check["check"]: check["outcome"] for check in ended.json["checks"]}


def line(ended: Any, name: str) -> dict[str, str]:
    """Return one check."""
    found: dict[str, str] = next(check for check in ended.json["checks"] if check["check"] == name)
    return found


def mlflow(**changes: Answer) -> Callable[[Received], Answer]:
    """Return a server that answers as MLflow 3 does, but for what is changed by the last part of its path."""
    answers = {
        "health": Answer(body=b"OK"),
        "version": Answer(body=b"3.17.2"),
        "search": json_answer({"experiments": []}),
        "info": json_answer({"store_type": "SqlStore"}),
    } | changes
    return lambda received: answers[received.path.replace("-", "/").rpartition("/")[2]]


def test_a_sound_server_is_all_ok(command_line: CommandLine, server_uri: str) -> None:
    """Written to as well; the experiment of the probe is deleted."""
    ended = command_line("doctor", "--write", "--json")

    assert ended.code == 0
    assert ended.json["ok"]
    assert set(outcomes(ended)) >= {"dns", "tcp", "server", "auth", "version", "store", "clock", "write-once"}
    assert {outcomes(ended)[name] for name in ("auth", "version", "store", "write-once", "artifacts", "clean-up")} == {
        "ok"
    }


def test_nothing_is_written_unless_it_is_asked_for(command_line: CommandLine) -> None:
    """The checks that write are skipped, and say how to make them."""
    with run_stub(mlflow()) as stub:
        ended = command_line("doctor", "--tracking-uri", stub.uri)
        methods = {(received.method, received.path.rpartition("/")[2]) for received in stub.requests}

    assert ended.code == 0
    assert "skipped write-once, artifacts, clean-up: nothing is written without --write" in ended.out
    assert {method for method, path in methods if path != "search"} == {"GET"}


def test_a_dead_server_is_one_line_and_the_rest_is_skipped(command_line: CommandLine, free_port: int) -> None:
    """With what to do about it."""
    ended = command_line("doctor", "--tracking-uri", f"http://127.0.0.1:{free_port}")

    assert ended.code == 1
    lines = ended.out.splitlines()
    assert [text for text in lines if text.startswith("fail")] == [
        f"fail    tcp          127.0.0.1:{free_port}: refused: nothing listens there"
    ]
    assert "-> is the server running at this address?" in ended.out
    assert any(text.startswith("skipped server, auth, ") for text in lines)


def test_a_name_that_does_not_exist(command_line: CommandLine) -> None:
    """The .invalid domain never resolves."""
    ended = command_line("doctor", "--json", "--tracking-uri", "http://mlflow.invalid:5000")

    assert (ended.code, outcomes(ended)["dns"], outcomes(ended)["tcp"]) == (1, "fail", "skipped")


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "MLFLOW_TRACKING_TOKEN"), (403, "credentials")], ids=["unauthenticated", "forbidden"]
)
def test_refused_credentials_say_what_to_set_and_are_not_shown(
    command_line: CommandLine, status: int, advice: str
) -> None:
    """Neither the password of the variable nor that of the address is printed, whatever the server repeats."""
    os.environ["MLFLOW_TRACKING_USERNAME"] = "ana"
    os.environ["MLFLOW_TRACKING_PASSWORD"] = "geheim-1"
    refused = error_answer(status, "UNAUTHENTICATED" if status == 401 else "PERMISSION_DENIED", "not geheim-1")
    with run_stub(mlflow(search=refused)) as stub:
        ended = command_line("doctor", "--json", "--tracking-uri", stub.uri)
        text = command_line("doctor", "--tracking-uri", stub.uri)

    assert (ended.code, line(ended, "auth")["outcome"], line(ended, "version")["outcome"]) == (1, "fail", "skipped")
    assert advice in line(ended, "auth")["advice"]
    assert "geheim-1" not in ended.out + ended.err + text.out + text.err
    assert "MLFLOW_TRACKING_USERNAME=ana" in text.out


@pytest.mark.parametrize(
    ("changes", "name", "outcome"),
    [
        ({"info": json_answer({"store_type": "FileStore"})}, "store", "fail"),
        ({"version": Answer(body=b"2.7.0"), "info": Answer(404)}, "version", "fail"),
        ({"version": Answer(body=b"2.22.0"), "info": Answer(404)}, "version", "ok"),
        ({"health": Answer(body=b"OK", headers=(("date", "Tue, 01 Jan 2030 00:00:00 GMT"),))}, "clock", "warn"),
        ({"search": Answer(body=b"<html>login</html>")}, "auth", "fail"),
        ({"search": Answer(302, headers=(("location", "https://elsewhere/"),))}, "auth", "fail"),
        ({"search": error_answer(500, "INTERNAL_ERROR")}, "auth", "fail"),
        ({"health": Answer(404)}, "server", "ok"),
        ({"health": CUT}, "server", "fail"),
    ],
)
def test_what_a_server_is_like(command_line: CommandLine, changes: dict[str, Answer], name: str, outcome: str) -> None:
    """Old, on files, with another clock, behind a login page, or failing."""
    with run_stub(mlflow(**changes)) as stub:
        ended = command_line("doctor", "--json", "--tracking-uri", stub.uri)

    assert line(ended, name)["outcome"] == outcome
    assert ended.code == (1 if outcome == "fail" else 0)
    assert line(ended, name)["advice"] or outcome == "ok"


def test_a_store_that_overwrites_params_cannot_hold_rollouts(command_line: CommandLine) -> None:
    """The probe fails, the experiment of it is deleted all the same."""
    stored: dict[str, str] = {}

    def script(received: Received) -> Answer:
        path = received.path.rpartition("/mlflow/")[2]
        if path == "experiments/create":
            return json_answer({"experiment_id": "7"})
        if path == "runs/create" or path == "runs/get":
            params = [{"key": key, "value": value} for key, value in stored.items()]
            info = {"run_id": "r1", "experiment_id": "7", "status": "RUNNING", "artifact_uri": "mlflow-artifacts:/7/r1"}
            return json_answer({"run": {"info": info, "data": {"params": params}}})
        if path == "runs/log-parameter":
            body = json.loads(received.body)
            stored[body["key"]] = body["value"]
            return json_answer({})
        if path == "experiments/delete":
            return json_answer({})
        if "mlflow-artifacts" in received.path:
            return error_answer(500, "INTERNAL_ERROR", "no bucket")
        return mlflow()(received)

    with run_stub(script) as stub:
        ended = command_line("doctor", "--write", "--json", "--tracking-uri", stub.uri)
        lines = stub.lines

    assert ended.code == 1
    assert line(ended, "write-once")["outcome"] == "fail"
    assert "'2' is stored" in line(ended, "write-once")["found"]
    assert line(ended, "artifacts")["outcome"] == "fail"
    assert line(ended, "clean-up")["outcome"] == "ok"
    assert lines[-1].endswith("experiments/delete")


@pytest.mark.parametrize(("trusted", "outcome"), [(True, "ok"), (False, "fail")])
def test_certificates(command_line: CommandLine, tmp_path: Path, trusted: bool, outcome: str) -> None:
    """One that is not trusted says where to name its authority; nothing is asked then."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    signer = authority if trusted else trustme.CA()
    signer.cert_pem.write_to_path(tmp_path / "authority.pem")
    os.environ["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(tmp_path / "authority.pem")
    with run_stub(mlflow(), tls=context) as stub:
        ended = command_line("doctor", "--json", "--tracking-uri", stub.uri)

    assert line(ended, "tls")["outcome"] == outcome
    assert (line(ended, "server")["outcome"] == "ok") is trusted
    assert trusted or "MLFLOW_TRACKING_SERVER_CERT_PATH" in line(ended, "tls")["advice"]


def test_settings_that_cannot_work(command_line: CommandLine) -> None:
    """The rest that needs a server is skipped; this machine is looked at all the same."""
    ended = command_line("doctor", "--json", "--tracking-uri", "ftp://somewhere")

    assert ended.code == 1
    assert outcomes(ended)["settings"] == "fail"
    assert outcomes(ended)["cache"] == "ok"
    assert outcomes(ended)["auth"] == "skipped"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("MLFLOW_TRACKING_PASSWORD", "pw", "***"),
        ("MLFLOW_TRACKING_TOKEN", "t", "***"),
        ("MLFLOW_TRACKING_URI", "http://ana:pw@host:5/x?key=1", "http://***@host:5/x?***"),
        ("HTTP_PROXY", "ana:pw@proxy:3128", "***@proxy:3128"),
        ("MLFLOW_TRACKING_URI", "http://[bad", "***"),
        ("MLFLOW_WORKSPACE", "fraud", "fraud"),
    ],
)
def test_values_are_redacted(name: str, value: str, shown: str) -> None:
    """Whatever may be a secret is not shown."""
    assert redacted(name, value) == shown


def test_a_variable_that_nothing_reads_is_named() -> None:
    """A typing error in a name costs hours otherwise; other variables are none of our business."""
    check = environment_check({"MLFLOW_TRACKING_URL": "http://x", "MLFLOW_TRACKING_URI": "http://y", "HOME": "/"})

    assert check.outcome is Outcome.WARN
    assert "MLFLOW_TRACKING_URL" in (check.advice or "")
    assert check.found == "MLFLOW_TRACKING_URI=http://y"


@pytest.mark.parametrize(
    ("header", "outcome"),
    [
        ("Tue, 24 Nov 2026 15:00:03 GMT", Outcome.OK),
        ("Tue, 24 Nov 2026 14:59:00 GMT", Outcome.WARN),
        ("Tue, 24 Nov 2026 15:01:00 GMT", Outcome.WARN),
        ("yesterday", Outcome.SKIPPED),
        (None, Outcome.SKIPPED),
    ],
)
def test_clocks(header: str | None, outcome: Outcome) -> None:
    """A few seconds are nothing; a server without a Date cannot be compared."""
    assert clock_check(header, NOW, 0.1).outcome is outcome


@pytest.mark.parametrize(
    ("info", "ids", "outcome"),
    [
        (None, ["0", "123456789012345678"], Outcome.FAIL),
        (None, ["0", "1"], Outcome.OK),
        (None, [], Outcome.WARN),
        ({"store_type": "RestStore"}, [], Outcome.OK),
        ({"store_type": None}, ["1"], Outcome.OK),
    ],
)
def test_stores(info: dict[str, Any] | None, ids: list[str], outcome: Outcome) -> None:
    """Servers that do not say what they keep data in are known by the ids they give."""
    assert store_check(info, ids).outcome is outcome


@pytest.mark.parametrize(
    ("text", "outcome"), [("2.8.0", Outcome.FAIL), ("2.8.1", Outcome.OK), ("3.0.0rc1", Outcome.OK)]
)
def test_versions(text: str, outcome: Outcome) -> None:
    """From 2.8.1 on a server keeps what a rollout needs."""
    assert version_check(text).outcome is outcome


def test_certificates_that_end_soon_and_that_are_not_checked() -> None:
    """Both work, and both are warned of."""
    soon = (NOW + timedelta(days=3)).strftime("%b %d %H:%M:%S %Y GMT")
    late = (NOW + timedelta(days=90)).strftime("%b %d %H:%M:%S %Y GMT")
    assert certificate_check("TLSv1.3", {"notAfter": soon}, verified=True, now=NOW).outcome is Outcome.WARN
    assert certificate_check("TLSv1.3", {"notAfter": late}, verified=True, now=NOW).outcome is Outcome.OK
    assert certificate_check("TLSv1.3", {}, verified=True, now=NOW).outcome is Outcome.OK
    assert certificate_check("TLSv1.3", {}, verified=False, now=NOW).outcome is Outcome.WARN


def test_proxies() -> None:
    """A proxy before this machine's own server surprises; a user in its address is not shown."""
    assert proxy_check(None, "http://h:5", {}).found.startswith("none")
    assert "directly" in proxy_check(None, "http://h:5", {"NO_PROXY": "h"}).found
    through = proxy_check("http://ana:pw@proxy:1", "http://h:5", {"HTTP_PROXY": "x"})
    assert (through.outcome, "pw" in through.found) == (Outcome.OK, False)
    assert proxy_check("http://proxy:1", "http://127.0.0.1:5", {}).outcome is Outcome.WARN


def test_this_machine() -> None:
    """Little room is warned of, a directory that cannot be written fails, missing extras are named."""
    assert space_check("/c", None, 10**6, "1 MB").outcome is Outcome.WARN
    assert space_check("/c", "it is read-only", None, "").outcome is Outcome.FAIL
    assert space_check("/c", None, 10**12, "1 TB").outcome is Outcome.OK
    assert "not installed: mlflow" in extras_check({"mlflow": None, "httpx2": "2.0"}).found
