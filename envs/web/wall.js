// Takes from a page, before its own scripts run, what would reach past the requests that are answered for it.
(() => {
  "use strict";
  const away = ["RTCPeerConnection", "webkitRTCPeerConnection", "RTCDataChannel", "RTCIceTransport"];
  away.push("RTCDtlsTransport", "RTCSctpTransport", "WebTransport", "WebSocketStream", "SharedWorker", "Worker");
  for (const name of away) delete window[name];
  Navigator.prototype.sendBeacon = () => false;
  window.open = () => null;
  window.print = () => undefined;
})();
