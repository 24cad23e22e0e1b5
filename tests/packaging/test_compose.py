"""docker-compose.yml against the Dockerfiles and the settings."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

import pytest
import yaml
from kinemask.cli.up.services import DEFAULT_PORTS
from kinemask_gateway.jobs.settings import WorkerSettings

from tests.packaging.conftest import ROOT, SERVICES, load_as
from tests.packaging.dockerfile import read_dockerfile

each_service = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def _filled(text: object) -> str:
    """`${NAME:-default}` as its default; a variable without one is an error."""
    filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(text))
    assert "${" not in filled, f"{text}: starts only where somebody set it"
    return filled


def test_it_has_every_service_workers_and_the_database(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {*SERVICES, "worker", "postgres"}


def test_a_worker_is_the_gateways_image_and_shares_its_videos(compose: dict[str, Any]) -> None:
    worker, gateway = compose["services"]["worker"], compose["services"]["gateway"]
    assert (worker["build"], worker["volumes"]) == (gateway["build"], gateway["volumes"])
    assert find_spec(worker["command"][-1]) is not None
    own = {"KINEMASK_PORT": DEFAULT_PORTS["worker"], "KINEMASK_METRICS_PORT": 51056}
    assert worker["environment"] == gateway["environment"] | own
    fields = {f"KINEMASK_{name.upper()}" for name in WorkerSettings.model_fields}
    assert worker["environment"].keys() <= fields


@each_service
def test_it_builds_the_dockerfile_with_arguments_that_are_there(
    compose: dict[str, Any], service: str
) -> None:
    build = compose["services"][service]["build"]
    path = ROOT / build["context"] / build["dockerfile"]
    assert path == ROOT / "services" / service / "Dockerfile"
    arguments = read_dockerfile(path)[0].arguments
    assert {k: _filled(v) for k, v in build.get("args", {}).items()} == arguments


@each_service
def test_every_variable_is_a_setting_and_its_value_is_good(
    compose: dict[str, Any], service: str
) -> None:
    image = read_dockerfile(ROOT / "services" / service / "Dockerfile")[1].environment
    entry = compose["services"][service]
    settings = load_as(service, image | {k: _filled(v) for k, v in entry["environment"].items()})
    grace = int(entry["stop_grace_period"].removesuffix("s"))
    assert grace > settings.drain_grace_s, "it would be killed while it hands streams over"


def test_the_gateway_knows_every_other_service_by_its_port(compose: dict[str, Any]) -> None:
    told = compose["services"]["gateway"]["environment"]
    inner = [service for service in SERVICES if service != "gateway"]
    for service in inner:
        image = read_dockerfile(ROOT / "services" / service / "Dockerfile")[1].environment
        target = f"dns:///{service}:{image['KINEMASK_PORT']}"
        assert told[f"KINEMASK_{service.upper()}_ADDRESSES"] == target
    wanted = {name: {"condition": "service_healthy"} for name in (*inner, "postgres")}
    assert compose["services"]["gateway"]["depends_on"] == wanted


def test_only_the_gateways_port_is_published_and_only_to_this_machine(
    compose: dict[str, Any],
) -> None:
    published = {
        name: entry["ports"] for name, entry in compose["services"].items() if "ports" in entry
    }
    assert published.keys() == {"gateway"}
    [port] = published["gateway"]
    assert _filled(port) == "127.0.0.1:50050:50050"


def test_only_the_gateway_reaches_out_of_the_inner_network(compose: dict[str, Any]) -> None:
    assert compose["networks"]["inner"] == {"internal": True}
    for name, entry in compose["services"].items():
        assert entry["networks"] == (["inner", "outer"] if name == "gateway" else ["inner"])


@pytest.mark.parametrize("service", [*SERVICES, "worker"])
def test_a_service_can_write_only_where_it_should(compose: dict[str, Any], service: str) -> None:
    entry = compose["services"][service]
    assert entry["read_only"] and entry["cap_drop"] == ["ALL"] and entry["tmpfs"] == ["/tmp"]
    for volume in entry.get("volumes", ()):
        name, target = volume.split(":")
        assert name in compose["volumes"] and target == "/data"


def test_the_database_has_vectors_a_health_check_and_keeps_its_data(
    compose: dict[str, Any],
) -> None:
    postgres = compose["services"]["postgres"]
    assert postgres["image"] == "pgvector/pgvector:pg18"
    assert "pg_isready" in postgres["healthcheck"]["test"][1]
    # Since 18 the image keeps its data in a folder of the version below this one.
    assert postgres["volumes"] == ["postgres:/var/lib/postgresql"]
    assert "postgres" in compose["volumes"]
    for value in postgres["environment"].values():
        assert _filled(value) == "kinemask"
