// Removes from a page, before its own scripts run, APIs that bypass the intercepted requests.
(() => {
  "use strict";
  const away = ["RTCPeerConnection", "webkitRTCPeerConnection", "RTCDataChannel", "RTCIceTransport"];
  away.push("RTCDtlsTransport", "RTCSctpTransport", "WebTransport", "WebSocketStream", "SharedWorker", "Worker");
  for (const name of away) delete window[name];
  Navigator.prototype.sendBeacon = () => false;
  window.open = () => null;
  window.print = () => undefined;
  HTMLFormElement.prototype.submit = () => undefined;
  // such a request would be blocked anyway, but if it starts during loading it stops the loading
  window.navigation?.addEventListener("navigate", (event) => {
    const isAway = new URL(event.destination.url).origin !== location.origin;
    if (event.cancelable && isAway) event.preventDefault();
  });
})();
