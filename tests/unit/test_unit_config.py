"""The configuration: defaults that the file restates, and refusals that name the key and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ctiqa_node.config import LISTS, Config, Destination, default_state_dir, keys, load_config
from ctiqa_node.errors import ConfigError
from ctiqa_node.network_settings import Peer

SHIPPED = Path(__file__).resolve().parents[2] / "config.yaml"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine's own."""
    import os

    for name in [name for name in os.environ if name.startswith("CTIQA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("ctiqa_node.config.SYSTEM_CONFIG", tmp_path / "none.yaml")


def _load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_config(path)


def _complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    return str(caught.value)


def test_without_a_file_the_defaults_hold() -> None:
    config = load_config()
    assert (config.node.ae_title, config.node.port, config.series.quiet_seconds) == ("CTIQA", 11112, 20)
    assert config.destinations == ()


def _shipped_values() -> dict[str, Any]:
    """Every key of the shipped file with its value, those that are commented out, too."""
    lines = []
    for line in SHIPPED.read_text().splitlines():
        uncommented = re.sub(r"^(\s*)# (state_dir: )", r"\1\2", line)
        lines.append(re.sub(r"^#  ([- ] \w+: )", r"  \1", uncommented))
    text = re.sub(r"^(destinations|peers): \[\]", r"\1:", "\n".join(lines), flags=re.MULTILINE)
    loaded: dict[str, Any] = yaml.safe_load(text)
    values = {}
    for section, content in loaded.items():
        entries = content[0] if section in LISTS else content
        prefix = f"{section}[]" if section in LISTS else section
        values.update({f"{prefix}.{key}": value for key, value in entries.items()})
    return values


def test_the_shipped_file_restates_every_key_and_no_other() -> None:
    assert set(_shipped_values()) == {key for key, _ in keys()}


@pytest.mark.parametrize(("key", "default"), [pytest.param(*pair, id=pair[0]) for pair in keys()])
def test_the_shipped_file_restates_the_default(key: str, default: Any) -> None:
    if "[]" in key:
        return
    stated = _shipped_values()[key]
    expected = list(default) if isinstance(default, tuple) else default
    assert stated == (str(Path("/var/lib/ctiqa-node")) if key == "node.state_dir" else expected)


def test_the_shipped_file_is_the_default_configuration() -> None:
    assert load_config(SHIPPED) == load_config()


def test_every_setting_of_the_shipped_file_has_a_comment() -> None:
    section = re.compile(r"^\w+:$")
    bare = [
        line for line in SHIPPED.read_text().splitlines()
        if line.strip() and "#" not in line and not section.match(line)
    ]  # fmt: skip
    assert bare == []


def test_a_file_needs_only_what_differs(tmp_path: Path) -> None:
    config = _load(tmp_path, "node: {ae_title: QA1}\nseries:\nworker: {device: cpu}\n")
    assert (config.node.ae_title, config.node.port, config.worker.device) == ("QA1", 11112, "cpu")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    assert _load(tmp_path, text) == load_config()


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("nodes: {}", "nodes", "node, peers, tls, spool, series"),
        ("peers: [{name: a, ae_title: [A]}]", "peers.0.ae_title", "name, ae_titles, addresses"),
        ("node: {prot: 104}", "node.prot", "ae_title, address, port"),
        ("series: {quiet: 3}", "series.quiet", "quiet_seconds, min_slices, max_million_voxels"),
        ("destinations: [{name: a, ae_title: A, host: h, port: 1, teh: yes}]", "destinations.0.teh", "name, ae_title"),
        (
            "destinations: [{name: a, ae_title: A, host: h, port: 1, tls: {cert: a.pem}}]",
            "destinations.0.tls.cert",
            "ca, certificate, key, check_host_name, server_name",
        ),
        (
            "destinations: [{name: a, ae_title: A, host: h, port: 1, objects: {pfd: yes}}]",
            "destinations.0.objects.pfd",
            "sr, summary, quality_maps, parametric_map, key_objects, pdf, text_report",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_its_path_and_what_is_allowed(
    tmp_path: Path, text: str, path: str, allowed: str
) -> None:
    complaint = _complaint(tmp_path, text)
    assert f"  {path}: unknown key; allowed here: {allowed}" in complaint
    assert str(tmp_path / "config.yaml") in complaint


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("node: {port: 70000}", "node.port", "65535"),
        ("node: {port: -1}", "node.port", "greater than or equal to 0"),
        ("node: {port: many}", "node.port", "integer"),
        ("node: {max_associations: 0}", "node.max_associations", "1"),
        ("node: {shutdown_seconds: 26}", "node.shutdown_seconds", "25"),
        ("series: {quiet_seconds: 0}", "series.quiet_seconds", "greater than 0"),
        ("series: {quiet_seconds: .nan}", "series.quiet_seconds", "than"),
        ("worker: {device: tpu}", "worker.device", "'auto', 'cpu' or 'cuda'"),
        ("worker: {assessors: [snr, Magic!]}", "worker.assessors.1", "pattern"),
        ("worker: {assessors: []}", "worker.assessors", "at least 1 item"),
        ("logging: {level: loud}", "logging.level", "'debug', 'info', 'warning' or 'error'"),
        ("node: 5", "node", "dictionary"),
        ("destinations: {name: a}", "destinations", "tuple"),
        ("destinations: [{name: a}]", "destinations.0.ae_title", "required"),
        ("destinations: [{name: a b, ae_title: A, host: h, port: 1}]", "destinations.0.name", "A-Za-z0-9._-"),
        ("destinations: [{name: a, ae_title: A, host: h, port: 0}]", "destinations.0.port", "1"),
        ("destinations: [{name: a, ae_title: A, host: '', port: 1}]", "destinations.0.host", "1"),
        (
            "destinations: [{name: a, ae_title: A, host: h, port: 1, profile: osirix}]",
            "destinations.0.profile",
            "'generic-pacs', 'ohif', 'orthanc', 'weasis' or 'slicer'",
        ),
        (
            "destinations: [{name: a, ae_title: A, host: h, port: 1, objects: {pdf: often}}]",
            "destinations.0.objects.pdf",
            "valid boolean",
        ),
        ("peers: some", "peers", "a list of peers, or the word any"),
        ("peers: {name: a}", "peers", "tuple"),
        ("peers: [{name: a, addresses: [scanner.example.org]}]", "peers.0.addresses.0", "names are not looked up"),
        ("peers: [{name: a, addresses: [10.0.0.5/24]}]", "peers.0.addresses.0", "without host bits"),
        ("peers: [{name: a, max_associations: 0}]", "peers.0.max_associations", "1"),
        ("peers: [{name: a, instances_per_minute: 0}]", "peers.0.instances_per_minute", "1"),
        ("peers: [{name: a, sop_classes: [CT Image]}]", "peers.0.sop_classes.0", "pattern"),
        ("peers: [{name: a}, {name: a}]", "peers", "the name 'a' is used twice"),
        ("tls: {certificate: a.pem}", "tls", "verify_clients is required, which needs ca; or set verify_clients: off"),
        ("tls: {ca: a.pem}", "tls", "of no use without certificate"),
        ("tls: {certificate: a.pem, verify_clients: maybe}", "tls.verify_clients", "'off', 'optional' or 'required'"),
        ("report: {pdf_series_number: 0}", "report.pdf_series_number", "1"),
    ],
)
def test_a_bad_value_is_refused_with_its_path_and_what_is_allowed(
    tmp_path: Path, text: str, path: str, allowed: str
) -> None:
    lines = [line for line in _complaint(tmp_path, text).splitlines() if line.startswith(f"  {path}: ")]
    assert lines
    assert any(allowed in line for line in lines)


def test_all_complaints_come_at_once(tmp_path: Path) -> None:
    complaint = _complaint(tmp_path, "node: {prot: 1, port: x}\nsereis: {}\n")
    assert [path for path in ("node.prot", "node.port", "sereis") if f"  {path}: " in complaint] == [
        "node.prot", "node.port", "sereis",
    ]  # fmt: skip


@pytest.mark.parametrize("title", ["", "   ", "SEVENTEEN-LETTERS", "BACK\\SLASH", "MÜNCHEN", "TAB\tTAB", "LINE\nEND"])
def test_an_ae_title_that_dicom_does_not_allow_is_refused(tmp_path: Path, title: str) -> None:
    assert "node.ae_title" in _complaint(tmp_path, yaml.safe_dump({"node": {"ae_title": title}}))
    peers = yaml.safe_dump({"peers": [{"name": "a", "ae_titles": [title]}]})
    assert "peers.0.ae_titles.0" in _complaint(tmp_path, peers)


@pytest.mark.parametrize("title", ["A", "SIXTEEN-LETTERS.", "with space", " padded "])
def test_an_ae_title_that_dicom_allows_is_taken_without_its_padding(tmp_path: Path, title: str) -> None:
    assert _load(tmp_path, yaml.safe_dump({"node": {"ae_title": title}})).node.ae_title == title.strip()


def test_destinations_are_a_list(tmp_path: Path) -> None:
    text = """
destinations:
  - {name: pacs, ae_title: PACS, host: 10.0.0.5, port: 104}
  - {name: viewer, ae_title: VIEW, host: viewer.example, port: 4242, calling_ae_title: QA}
"""
    pacs, viewer = _load(tmp_path, text).destinations
    assert (pacs.host, pacs.calling_ae_title, viewer.calling_ae_title) == ("10.0.0.5", None, "QA")


def test_two_destinations_of_one_name_are_refused(tmp_path: Path) -> None:
    one = "{name: pacs, ae_title: A, host: h, port: 1}"
    assert "the name 'pacs' is used twice" in _complaint(tmp_path, f"destinations: [{one}, {one}]")


def test_the_bare_word_off_is_no_false(tmp_path: Path) -> None:
    assert _load(tmp_path, "tls: {certificate: a.pem, verify_clients: off}").tls.verify_clients == "off"


def test_nobody_is_a_peer_unless_the_file_says_so() -> None:
    assert load_config().peers == ()


def test_the_word_any_is_a_peer_without_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _load(tmp_path, "peers: any").peers == (Peer(name="any"),)
    monkeypatch.setenv("CTIQA_PEERS", "any")
    assert load_config().peers == (Peer(name="any"),)
    monkeypatch.setenv("CTIQA_PEERS", '[{"name": "ct", "addresses": ["fd00::/64"]}]')
    assert load_config().peers == (Peer(name="ct", addresses=("fd00::/64",)),)


def test_addresses_and_networks_of_both_kinds_are_taken(tmp_path: Path) -> None:
    written = "peers: [{name: a, addresses: [10.0.0.5, 10.1.0.0/16, 'fd00::5', 'fd00:1::/64']}]"
    assert _load(tmp_path, written).peers[0].addresses == ("10.0.0.5/32", "10.1.0.0/16", "fd00::5/128", "fd00:1::/64")


def test_without_a_profile_a_destination_gets_report_and_summary_page() -> None:
    assert Destination(name="pacs", ae_title="PACS", host="h", port=1).wanted == {"sr", "summary"}


def test_switches_win_over_the_profile_and_leave_the_rest(tmp_path: Path) -> None:
    where = "name: a, ae_title: A, host: h, port: 1, profile: ohif"
    config = _load(tmp_path, f"destinations: [{{{where}, objects: {{pdf: true, parametric_map: false, sr: true}}}}]")
    assert config.destinations[0].wanted == {"sr", "summary", "quality_maps", "pdf"}


def test_a_destination_that_would_get_nothing_is_refused(tmp_path: Path) -> None:
    where = "name: a, ae_title: A, host: h, port: 1"
    complaint = _complaint(tmp_path, f"destinations: [{{{where}, objects: {{sr: false, summary: false}}}}]")
    assert "destinations.0: " in complaint
    assert "switches off all that the profile generic-pacs sends; remove the destination" in complaint


def test_series_numbers_that_are_the_same_are_refused(tmp_path: Path) -> None:
    assert "sr_series_number and summary_series_number must differ" in _complaint(
        tmp_path, "report: {sr_series_number: 9902}"
    )
    assert "must differ" in _complaint(tmp_path, "report: {text_report_series_number: 9904}")


def test_the_environment_wins_over_the_file_and_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTIQA_NODE__PORT", "104")
    monkeypatch.setenv("CTIQA_DESTINATIONS", '[{"name": "env", "ae_title": "E", "host": "h", "port": 1}]')
    config = _load(tmp_path, "node: {port: 4242, ae_title: FILE}\ndestinations: []\n")
    assert (config.node.port, config.node.ae_title) == (104, "FILE")
    assert [destination.name for destination in config.destinations] == ["env"]


@pytest.mark.parametrize(
    ("name", "value", "mentioned"),
    [
        ("CTIQA_NODE__PORT", "many", "node.port"),
        ("CTIQA_NODE__PROT", "104", "node.prot"),
        ("CTIQA_DESTINATIONS", "[not json", "CTIQA_"),
        ("CTIQA_NODES__PORT", "104", "CTIQA_NODES__PORT names no setting; .* the sections are NODE, PEERS, TLS, SPOOL"),
    ],
)
def test_a_bad_value_in_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, mentioned: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=mentioned):
        load_config()


def test_variables_that_are_no_settings_are_let_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CTIQA_DATA", str(tmp_path))
    (tmp_path / "named.yaml").write_text("node: {ae_title: NAMED}")
    monkeypatch.setenv("CTIQA_CONFIG", str(tmp_path / "named.yaml"))
    assert load_config().node.ae_title == "NAMED"


@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        ("node: [", "not valid YAML"),
        ("- a\n- b\n", "must be a mapping of sections, not list"),
        ("\x00", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, mentioned: str) -> None:
    assert mentioned in _complaint(tmp_path, text)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "binary.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_the_state_folder_is_systemds_where_it_gives_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}:/other")
    assert default_state_dir() == tmp_path
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert default_state_dir() == tmp_path / "xdg" / "ctiqa-node"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_state_dir() == Path("/var/lib/ctiqa-node")


def test_a_configuration_survives_the_way_to_the_worker() -> None:
    config = load_config()
    assert Config.model_validate_json(config.model_dump_json()) == config
