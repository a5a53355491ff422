"""The volume of the store outlives its container, whichever PostgreSQL image is used."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.acceptance.compose.stack import Stack, run

pytestmark = pytest.mark.timeout(600)

IMAGE_18 = """
FROM {image} AS base
FROM scratch
COPY --from=base / /
ENV {environment} PGDATA=/var/lib/postgresql/18/docker
RUN rm -rf /var/lib/postgresql && install -d -o postgres -g postgres -m 1777 /var/lib/postgresql
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
"""
"""The folders of the official ``postgres:18``; the server is that of ``image``."""


@pytest.fixture
def own_stack(docker_engine: None) -> Iterator[Stack]:
    """A stack without containers."""
    stack = Stack()
    try:
        stack.compose("build", "--quiet", "credentials", within=400)
        yield stack
    finally:
        stack.remove()


def image_of(layout: str, stack: Stack) -> str:
    """An image with the folders of that version of PostgreSQL."""
    image = stack.variables.get("AOI_POSTGRES_IMAGE", "postgres:17")
    if layout == "17":
        return image
    (details,) = json.loads(run("docker", "image", "inspect", image))
    environment = " ".join(
        json.dumps(each) if " " in each else each
        for each in details["Config"]["Env"]
        if not each.startswith("PGDATA=")
    )
    recipe = IMAGE_18.format(image=image, environment=environment)
    made = f"{stack.project}-postgres-18"
    label = f"com.docker.compose.project={stack.project}"
    run("docker", "build", "--quiet", "--tag", made, "--label", label, "-", given=recipe)
    return made


def query(stack: Stack, statement: str) -> str:
    """What the store answers."""
    psql = ("psql", "--username", "aoi", "--tuples-only", "--no-align", "--command", statement)
    return stack.compose("exec", "-T", "postgres", *psql).strip()


@pytest.mark.parametrize("layout", ["17", "18"])
def test_a_new_container_has_the_data_of_the_old_one(layout: str, own_stack: Stack) -> None:
    """Its volume is at a folder that no image uses, so it does not matter where the image's is."""
    own_stack.variables["AOI_POSTGRES_IMAGE"] = image_of(layout, own_stack)
    own_stack.up("postgres")
    query(own_stack, "CREATE TABLE kept AS SELECT 42 AS number")
    own_stack.compose("rm", "--force", "--stop", "--volumes", "postgres", "store-folder")
    own_stack.up("postgres")
    assert query(own_stack, "SELECT number FROM kept") == "42"


def test_a_volume_of_0_1_0_goes_on_to_work(own_stack: Stack) -> None:
    """It was mounted at the folder of the image of PostgreSQL 17, and holds the cluster itself."""
    image, volume = image_of("17", own_stack), f"{own_stack.project}_store"
    labels = ("--label", f"com.docker.compose.project={own_stack.project}")
    of_store = ("--label", "com.docker.compose.volume=store")
    run("docker", "volume", "create", *labels, *of_store, volume)
    make = (
        'initdb --username=aoi --auth=trust && single() { postgres --single -D "$PGDATA" "$1"; } &&'
        "echo 'CREATE DATABASE aoi' | single postgres &&"
        "echo 'CREATE TABLE kept AS SELECT 42 AS number' | single aoi"
    )
    run(
        *("docker", "run", "--rm", *labels, "--user", "postgres", "--entrypoint", "bash"),
        *("--volume", f"{volume}:/var/lib/postgresql/data", image, "-c", make),
    )
    own_stack.up("postgres")
    assert query(own_stack, "SELECT number FROM kept") == "42"
