"""What a result says of the machine: data, without names of people or places."""

import json
import os
import platform
import re
import socket

import jax

from studies.common import machine, results


def test_machine_record_is_data_and_names_no_one(monkeypatch, tmp_path):
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to=/home/somebody/dump")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/home/somebody/cache")
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setattr(socket, "gethostname", lambda: "somebody")
    monkeypatch.setattr(platform, "node", lambda: "somebody")
    record = machine.machine_record()
    results.write_json(tmp_path / "record.json", record)
    assert results.read_json(tmp_path / "record.json") == record
    text = json.dumps(record)
    assert "somebody" not in text
    assert not re.search(r"(^|[\s\"=:,~])/\w", text)
    assert "--xla_dump_to=<path>" in record["environment"]["XLA_FLAGS"]
    assert record["versions"]["jax"] == jax.__version__
    assert record["device_count"] == jax.device_count()


def test_machine_record_survives_what_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "PACKAGES", ("jax", "no_such_package"))
    monkeypatch.setattr(machine.Path, "read_text", lambda *_: (_ for _ in ()).throw(OSError("unreadable")))
    record = machine.machine_record()
    assert record["git_commit"] is None
    assert record["git_dirty"] is None
    assert record["versions"]["no_such_package"] is None
    assert record["usable_cores"] == os.cpu_count()
