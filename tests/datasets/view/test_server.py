"""The server behind the page: whom it answers, what it refuses, and that nothing of what it says leads anywhere else."""

import http.client
import json
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from robolearn.cli import main
from robolearn.datasets.view.main import serving
from robolearn.datasets.view.saving import place
from robolearn.errors import UserError
from tests.datasets.view.shown import COUNT, FAKE, WITHOUT_STATES, make_store, served


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("demos") / "demos.zarr")


@pytest.fixture
def viewer(store, tmp_path):
    with served(store, tmp_path) as viewer:
        yield viewer


def ask(viewer, path, method="GET", body=None, *, token=None, **headers):
    """Status, body and headers of an answer; ``path`` is behind the secret unless ``token`` says otherwise."""
    guard = viewer.server.guard
    connection = http.client.HTTPConnection("127.0.0.1", guard.port, timeout=10)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/{guard.token if token is None else token}/{path}", body, given)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, answer.headers


def post(viewer, request, **headers):
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    status, content, _ = ask(viewer, "save", "POST", body, **{"Content_Type": "application/json", **headers})
    return status, json.loads(content)


def test_the_numbers_it_sends_are_those_of_the_store(viewer, store):
    status, content, headers = ask(viewer, "episode/3/numbers/joints")
    assert status == 200
    assert headers["X-Channels"] == "3"
    rows = np.frombuffer(content, "<f8").reshape(-1, 3)
    np.testing.assert_array_equal(rows, store.array("joints", int(store.starts[3]), int(store.ends[3])))


def test_without_the_secret_nothing_is_answered(viewer):
    for path in ("", "store.json", "page.js", "episode/0/stored/front/0.jpg"):
        assert ask(viewer, path, token="wrong")[0] == 403
        assert ask(viewer, path)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost:1", ""])
def test_another_name_for_this_machine_is_turned_away(viewer, host):
    """DNS rebinding: a foreign site's name that points at 127.0.0.1."""
    assert ask(viewer, "store.json", Host=host.format(port=viewer.server.guard.port))[0] == 403


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"])
def test_its_own_names_are_answered(viewer, host):
    assert ask(viewer, "store.json", Host=host.format(port=viewer.server.guard.port))[0] == 200


def test_a_page_of_another_site_cannot_save(viewer, tmp_path):
    request = {"name": "new", "marks": {"0": {"drop": True}}}
    assert post(viewer, request, Origin="http://evil.example")[0] == 403
    assert post(viewer, request, Content_Type="text/plain")[0] == 415
    assert post(viewer, request, Content_Length=str(1 << 40))[0] == 413
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "%2e%2e/page.html",
        "page.html/..",
        "/etc/passwd",
        "guard.py",
        "episode/0/stored/..%2ffront/0.jpg",
        "save",
        "episode/-1/numbers/joints",
    ],
)
def test_addresses_that_lead_elsewhere_lead_nowhere(viewer, path):
    status, content, _ = ask(viewer, path)
    assert status in (400, 404)
    assert set(json.loads(content)) == {"error"}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("episode/99/numbers/joints", "no episode 99; it has 12"),
        ("episode/0/numbers/sim_state", "'sim_state' is not plotted"),
        ("episode/0/stored/front/999.jpg", "there is no step 999"),
        ("episode/0/stored/joints/0.jpg", "no pictures 'joints'"),
        (f"episode/{WITHOUT_STATES}/drawn/above/0.jpg", "this episode has no simulator states"),
    ],
)
def test_what_is_not_in_the_store_is_told_in_a_line(viewer, path, said):
    status, content, _ = ask(viewer, path)
    assert status == 400
    assert said in json.loads(content)["error"]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (b"{", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        ([], "expected an object"),
        ({"name": "new", "marks": {}}, "nothing is marked"),
        ({"name": "../new", "marks": {"0": {"drop": True}}}, "plain name"),
        ({"name": 3, "marks": {"0": {"drop": True}}}, "plain name"),
        ({"name": "new", "marks": {"x": {"drop": True}}}, "no episode's number"),
        ({"name": "new", "marks": {"99": {"drop": True}}}, "no episode 99"),
        ({"name": "new", "marks": {"0": {"dropped": True}}}, "did you mean 'drop'"),
        ({"name": "new", "marks": {"0": {"success": "yes"}}}, "expected bool"),
        ({"name": "new", "marks": {"0": {"bottlenecks": [1e9]}}}, "expected a list of steps"),
        ({"name": "new", "marks": {"0": {"bottlenecks": [10]}}}, "there is no step 10"),
        ({"name": "new", "marks": {"0": {"success": True, "failure_step": 3}}}, "is a success"),
        ({"name": "new", "marks": {str(index): {"drop": True} for index in range(COUNT)}}, "nothing of"),
    ],
)
def test_marks_that_do_not_fit_are_refused_and_nothing_is_written(viewer, tmp_path, request_, said):
    status, facts = post(viewer, request_)
    assert status == 400
    assert said in facts["error"]
    assert not list(tmp_path.iterdir())


def test_what_goes_wrong_inside_shows_no_inside(viewer, monkeypatch, caplog):
    def fail():
        raise RuntimeError("secrets of the house")

    monkeypatch.setattr(viewer.saver, "facts", fail)
    status, content, _ = ask(viewer, "save.json")
    assert status == 500
    assert b"secrets" not in content
    assert "secrets of the house" in caplog.text


def test_every_answer_forbids_what_a_page_does_not_need(viewer):
    for path in ("", "store.json", "nowhere"):
        headers = ask(viewer, path)[2]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"


def test_without_graphics_the_cameras_say_which_package_is_lacking(store, tmp_path):
    with served(store, tmp_path, {**FAKE, "broken": True}) as viewer:
        facts = json.loads(ask(viewer, "cameras.json")[1])
    assert facts == {"stored": ["front"], "drawn": [], "why_not": "this machine draws no pictures: install libegl1"}


def test_names_of_new_stores_stay_in_their_folder(tmp_path):
    assert place(tmp_path, "a") == place(tmp_path, "a.zarr") == tmp_path / "a.zarr"
    for name in ("", ".", "..", "a/b", "/a", "a\\b", ".hidden", "a\n", "a" * 101, None):
        with pytest.raises(UserError, match="plain name"):
            place(tmp_path, name)


def test_a_port_that_is_taken_is_told_in_a_line(viewer, store, tmp_path):
    with pytest.raises(UserError, match="give another port="), serving(store, tmp_path, {}, port=viewer.server.guard.port):
        pass


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("host=", "host names the address to listen at"),
        ("host=no.such.host.invalid", "cannot listen at host=no.such.host.invalid"),
        ("host=192.0.2.1", "an address of this machine"),
        ("port=70000", "give another port="),
        ("size=[400]", "size takes width and height"),
        ("size=[0,0]", "size takes width and height"),
        ("size=[100000,100000]", "from 16 to 4096 pixels, such as size=[320,240]; got [100000, 100000]"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_line(store, capsys, word, said):
    assert main(["data", "view", f"store={store.path}", "browser=false", word]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert ("another port=" in error) is word.startswith("port")


def test_it_serves_until_it_is_interrupted(store):
    words = ["data", "view", f"store={store.path}", "browser=false", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "robolearn", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        address = json.loads(process.stdout.readline())["address"]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}store.json", timeout=10) as answer:
            assert len(json.load(answer)["episodes"]) == COUNT
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (0, "")


def test_an_address_that_others_reach_is_warned_of(store, capsys, monkeypatch):
    def interrupted(server):
        raise KeyboardInterrupt

    monkeypatch.setattr("robolearn.datasets.view.server.Server.serve_forever", interrupted)
    for host, warned in (("127.0.0.1", False), ("0.0.0.0", True)):
        assert main(["data", "view", f"store={store.path}", "browser=false", f"host={host}"]) == 0
        assert ("warning: everybody who reaches this machine" in capsys.readouterr().err) is warned
