"""A local S3 server, for the tests that ask for it."""

import importlib.util
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def s3_endpoint():
    """Where an S3 server listens, and stays listening until the tests end."""
    for package in ("moto", "flask_cors", "obstore"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the tests of buckets need {package}: pip install 'robolearn[s3,dev]'")
    command = [sys.executable, Path(__file__).with_name("s3_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        line = next((line for line in server.stdout if line.startswith("listening ")), None)
        assert line is not None, "the S3 server did not start"
        yield line.split()[1]
        server.stdin.close()


@pytest.fixture
def bucket(s3_endpoint, monkeypatch):
    """The address of an empty bucket, which the environment leads to."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_REGION": "us-east-1",
        "ROBOLEARN_CONNECT_TIMEOUT_S": "60",  # the machine may be busy
    }.items():
        monkeypatch.setenv(name, value)
    name = f"lab-{uuid.uuid4().hex[:12]}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/{name}", method="PUT")).close()
    return f"s3://{name}"
