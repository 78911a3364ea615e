"""A server that speaks S3, for the tests: moto's, over real HTTP, with a bucket `crowd`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import boto3
import pytest
import s3fs
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer


@contextlib.contextmanager
def running(environment: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    """Run the server until the block ends; s3fs finds it by the environment, as it finds a real one."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        environment.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        boto3.client("s3").create_bucket(Bucket="crowd")
        yield server
    finally:
        with contextlib.suppress(Exception):  # a test may have stopped it
            server.stop()
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].reset()
