"""Log lines cannot be broken or forged by what a client sends."""

from __future__ import annotations

import json
import logging

from service.logs import JsonFormatter, TextFormatter


def record(message: str, **fields: str) -> logging.LogRecord:
    entry = logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "captioner"})
    vars(entry).update(fields)
    return entry


def test_a_text_line_stays_one_line() -> None:
    line = TextFormatter().format(record("GET /a\r\nforged", name_of="\x1b[31mx\u2028"))
    assert len(line.splitlines()) == 1
    assert "\\r\\nforged" in line
    assert "\x1b" not in line


def test_a_json_line_is_one_object_with_its_fields() -> None:
    line = JsonFormatter().format(record("GET /a\nb", request_id="7"))
    assert len(line.splitlines()) == 1
    assert json.loads(line)["request_id"] == "7"
