"""Foreign names and foreign pages are kept out, by whatever spelling; one's own are not."""

import http.client
import json
import socket
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given
from hypothesis import strategies as st
from widthwise.storage.projection.dashboard import make_server
from widthwise.storage.projection.host_check import check_host, is_loopback, parse_host


def fine(environ, start_response):
    start_response("200 OK", [])
    return [b""]


def status_of(application, **headers):
    """The status of a GET with these headers, named as in WSGI; `HOST=None` sends none."""
    answer = []
    environ = {f"HTTP_{name}": value for name, value in headers.items() if name != "SERVER_ADDR"}
    if "SERVER_ADDR" in headers:
        environ["SERVER_ADDR"] = headers["SERVER_ADDR"]
    setup_testing_defaults(environ)
    if headers.get("HOST") is None:
        del environ["HTTP_HOST"]
    list(application(environ, lambda status, _headers: answer.append(int(status[:3]))))
    return answer[0]


LOCAL = ["localhost", "localhost:8080", "LOCALHOST:9", "localhost.", "127.0.0.1", "127.0.0.1:8080"]
LOCAL_IPV6 = ["[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]:80", "[::ffff:127.0.0.1]:8080"]
FOREIGN = [
    "evil.example",
    "evil.example:8080",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8080",
    "evil-localhost",
    "192.0.2.9",
    "[2001:db8::9]:8080",
    "0.0.0.0:8080",
    "127.0.0.2",
]
MALFORMED = [
    "",
    " ",
    "localhost evil.example",
    "localhost, evil.example",
    "localhost,evil.example",
    "localhost:8080@evil.example",
    "evil@localhost",
    "http://localhost",
    "localhost/",
    "localhost:port",
    "localhost:99999",
    "localhost:-1",
    "localhost:80:80",
    "127.0.0.1.1",
    "2130706433",
    "127.1",
    "[::1",
    "[::1]x",
    "[localhost]",
    "[fe80::1%25lo]",
    "localhost\r\nHost: evil",
    ".",
]


@pytest.mark.parametrize("host", [*LOCAL, *LOCAL_IPV6, "::1"])
def test_this_machines_own_names_are_answered(host):
    assert status_of(check_host(fine, listens_on="127.0.0.1"), HOST=host) == 200


@pytest.mark.parametrize("host", [None, *FOREIGN, *MALFORMED])
@pytest.mark.parametrize("listens_on", ["127.0.0.1", "192.0.2.7", "::"])
def test_any_other_name_is_refused(host, listens_on):
    assert status_of(check_host(fine, listens_on=listens_on), HOST=host) == 421


@given(host=st.text(max_size=20))
def test_no_text_is_answered_but_the_expected_names(host):
    parsed = parse_host(host)
    expected = parsed is not None and parsed.name in ("localhost", "127.0.0.1", "::1")
    answered = status_of(check_host(fine, listens_on="127.0.0.1"), HOST=host) == 200
    assert answered == expected


@pytest.mark.parametrize(
    ("listens_on", "host"),
    [
        ("192.0.2.7", "192.0.2.7:8080"),
        ("gpu-box.example", "GPU-box.example"),
        ("2001:db8::7", "[2001:DB8:0::7]:8080"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_the_address_that_is_listened_on_is_answered(listens_on, host):
    assert status_of(check_host(fine, listens_on=listens_on), HOST=host) == 200
    assert status_of(check_host(fine, listens_on="127.0.0.1"), HOST=host) == 421


@pytest.mark.parametrize("allowed", ["studies.example", "Studies.Example.", "studies.example:443"])
def test_what_the_user_allows_is_answered_on_any_port(allowed):
    application = check_host(fine, listens_on="0.0.0.0", allowed=["dashboard", allowed])
    for host in ("studies.example", "studies.example:8443", "dashboard:8080"):
        assert status_of(application, HOST=host) == 200
    assert status_of(application, HOST="x.studies.example") == 421


def test_a_name_is_known_by_its_two_spellings():
    application = check_host(fine, listens_on="0.0.0.0", allowed=["münchen.example"])
    assert status_of(application, HOST="xn--mnchen-3ya.example") == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("192.0.2.7:8080", 200), ("[::ffff:192.0.2.7]", 200), ("192.0.2.8", 421), ("box", 421)],
)
def test_the_address_that_a_connection_was_made_to_is_answered(host, status):
    application = check_host(fine, listens_on="0.0.0.0")
    assert status_of(application, HOST=host, SERVER_ADDR="192.0.2.7") == status


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:8080", "http://localhost:8080", 200),
        ("localhost", "http://localhost", 200),
        ("localhost:80", "http://localhost", 200),
        ("[::1]:8080", "http://[0::1]:8080", 200),
        ("studies.example", "https://studies.example", 200),
        ("dashboard:8080", "https://studies.example", 200),
        ("localhost:8080", "https://studies.example:8443", 200),
        ("localhost:8080", "http://evil.example", 403),
        ("localhost:8080", "http://evil.example:8080", 403),
        ("localhost:8080", "http://localhost:3000", 403),
        ("localhost:8080", "http://127.0.0.1:8080", 403),
        ("localhost:8080", "http://localhost", 403),
        ("localhost:8080", "null", 403),
        ("localhost:8080", "", 403),
        ("localhost:8080", "file://", 403),
        ("localhost:8080", "ftp://localhost:8080", 403),
        ("localhost:8080", "http://localhost:8080/", 403),
        ("localhost:8080", "http://localhost:8080 http://evil.example", 403),
        ("localhost:8080", "http://localhost:8080@evil.example", 403),
    ],
)
def test_a_page_of_another_site_is_refused(host, origin, status):
    application = check_host(fine, listens_on="127.0.0.1", allowed=["studies.example", "dashboard"])
    assert status_of(application, HOST=host, ORIGIN=origin) == status


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.0.2.7", False),
        ("gpu-box", False),
    ],
)
def test_which_addresses_are_this_machines_alone(host, expected):
    assert is_loopback(host) == expected


# --- over the wire --------------------------------------------------------------------------------


def ask(address, method, path, **headers):
    """The status that a real server answers with; a Host is sent as it is given here."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Type", "application/json")
        body = json.dumps({"study_name": "new", "directions": ["minimize"]}).encode()
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("writable", [False, True], ids=["read-only", "writable"])
def test_a_rebound_name_reads_creates_and_deletes_nothing(
    writable, database, make_finished_study, serve_dashboard
):
    study = make_finished_study(database, "digits")
    address = serve_dashboard(database, writable=writable)
    own = {"Host": address.removeprefix("http://")}
    page = f"/api/studies/{study.optuna_study_id}"
    for host in ("evil.example", "localhost.evil.example:8080", "192.0.2.9"):
        for method, path in (
            ("GET", "/api/studies"),
            ("GET", page),
            ("GET", "/dashboard/"),
            ("POST", "/api/studies"),
            ("DELETE", page),
        ):
            assert ask(address, method, path, Host=host) == 421
            assert ask(address, method, path, **own, Origin=f"http://{host}") == 403
    assert ask(address, "GET", "/api/studies") == 421
    names = [known.study_name for known in database.optuna_storage().get_all_studies()]
    assert names == ["digits"]
    assert ask(address, "GET", page, **own) == 200
    done = ask(address, "POST", "/api/studies", **own, Origin=address)
    assert done == (201 if writable else 403)


def test_a_request_of_http_1_0_without_a_host_is_refused(database, serve_dashboard):
    address = serve_dashboard(database).removeprefix("http://")
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /api/studies HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").readline().split()[1] == b"421"


def test_two_hosts_in_one_request_are_refused(database, serve_dashboard):
    address = serve_dashboard(database).removeprefix("http://")
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        request = f"GET /api/studies HTTP/1.1\r\nHost: {address}\r\nHost: evil.example\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.makefile("rb").readline().split()[1] == b"421"


def test_an_allowed_name_is_answered_and_the_others_stay_out(database, serve_dashboard):
    address = serve_dashboard(database, host="0.0.0.0", allowed_hosts=["studies.example"])
    assert ask(address, "GET", "/api/studies", Host="studies.example") == 200
    assert ask(address, "GET", "/api/studies", Host="127.0.0.1:1") == 200
    assert ask(address, "GET", "/api/studies", Host="evil.example") == 421


def test_ipv6_is_listened_on_and_written_in_brackets(database):
    with make_server(database, host="::1", port=0) as server:
        assert server.url == f"http://[::1]:{server.server_address[1]}/dashboard/"
