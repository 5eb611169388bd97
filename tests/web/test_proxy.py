"""The page behind the real nginx, as people set it."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.commands import ROOT
from tests.web.conftest import LONG, blobs, png_of
from utils.errors import InputError
from web.settings import Settings

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CONFIG = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{}}
http {{
  access_log off; client_max_body_size 64m;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; server_name photos.example; {locations} }}
}}"""
ARRANGEMENTS = {
    "Host passed on": ("/", "location / {{ proxy_pass {to}; proxy_set_header Host $http_host; }}"),
    "nginx's own Host": ("/", "location / {{ proxy_pass {to}; }}"),
    "below a path": ("/sr/", "location /sr/ {{ proxy_pass {to}/; proxy_set_header Host $http_host; }}"),
    "below a path that is passed on": ("/sr/", "location /sr/ {{ proxy_pass {to}; }}"),
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Starts app.py and nginx in front of it; the public address."""
    if NGINX is None:
        pytest.skip("needs nginx, which .ci/run installs")
    running = []

    def start(arrangement: str) -> str:
        path, location = ARRANGEMENTS[arrangement]
        port = free_port()
        public = f"http://photos.example:{port}{path}"
        command = [sys.executable, "app.py", "--port", "0", "--threads", "1", "--public-url", public]
        running.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        line = running[0].stdout.readline()
        assert public in line
        to = line.split()[1].removesuffix(path)
        config = tmp_path / "nginx.conf"
        config.write_text(CONFIG.format(folder=tmp_path, port=port, locations=location.format(to=to)))
        running.append(subprocess.Popen([NGINX, "-p", tmp_path, "-e", tmp_path / "error.log", "-c", config]))
        return public

    yield start
    for process in reversed(running):
        process.terminate()
        process.wait(LONG)


@pytest.mark.parametrize(
    "arrangement",
    [
        pytest.param(name, marks=[pytest.mark.thorough] if path == "/" or name == "below a path" else [])
        for name, (path, _) in ARRANGEMENTS.items()
    ],
)
def test_all_is_answered_behind_nginx(proxied, arrangement) -> None:
    public = httpx.URL(proxied(arrangement))
    origin = f"http://{public.netloc.decode()}"
    transport = httpx.HTTPTransport(retries=20)  # until nginx listens
    headers = {"host": public.netloc.decode()}
    local = public.copy_with(host="127.0.0.1")
    with httpx.Client(base_url=local, headers=headers, transport=transport, timeout=LONG) as browser:
        page = browser.get("")
        assert page.status_code == 200
        assert f"path={public.path}" in page.headers["set-cookie"].lower()
        cookie = page.headers["set-cookie"].partition(";")[0]  # httpx keeps cookies by the name 127.0.0.1
        browser.headers["cookie"] = cookie
        for part in ("static/main.js", "static/vendor/openseadragon/openseadragon.min.js", "api/catalogue"):
            assert browser.get(part).status_code == 200, part
        sent = browser.post(
            "api/pictures", params={"name": "a.png"}, content=png_of(blobs(20, 24)), headers={"origin": origin}
        )
        assert sent.status_code == 200, sent.text
        assert browser.get(f"api/pictures/{sent.json()['picture']}/tiles/1/0/0?model=bicubic").status_code == 200
        foreign = browser.post("api/samples/coffee.png", headers={"origin": "http://evil.example"})
        assert foreign.status_code == 403


@pytest.mark.parametrize(
    "url", ["photos.example", "ftp://photos.example/", "https://", "https://a/?b", "http://[::1", ""]
)
def test_what_is_no_public_address_is_said(url) -> None:
    with pytest.raises(InputError, match="--public-url"):
        Settings(public_url=url)


def test_a_public_address_is_taken_apart() -> None:
    settings = Settings(public_url="https://[2001:db8::7]:8443/a/b/")
    assert settings.root == "/a/b"
    assert "[2001:db8::7]" in settings.hosts
    assert settings.is_own_origin("https://[2001:db8::7]:8443", "127.0.0.1:8000")
    assert not settings.is_own_origin("http://[2001:db8::7]:8443", "127.0.0.1:8000")
    assert settings.address == "http://127.0.0.1:8000/a/b/"
