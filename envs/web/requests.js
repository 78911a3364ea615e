// What a page requests of its own folder arrives before the page's time goes on, so that it depends on actions only.
// Not covered: bodies that are read as streams, and whether a picture arrives before a script's request of that time.
const requests = (() => {
  "use strict";
  const PATIENCE = 10000; // ms of real time that one wait takes at most, against requests that never end
  const MOST = 200; // most rounds of one wait, against pages that request endlessly
  const realTimeout = window.setTimeout.bind(window);
  const realClear = window.clearTimeout.bind(window);
  const turns = new MessageChannel();
  const postTurn = turns.port2.postMessage.bind(turns.port2);
  const pending = new Set();
  let isPosted = false; // whether the page has sent messages to itself, as schedulers do
  let hasGivenUp = false; // a page whose requests never end goes on without waiting
  let delivered = Promise.resolve();
  let wake = () => undefined;

  const begin = (request) => void pending.add(request);
  const end = (request) => {
    pending.delete(request);
    wake();
  };

  // All callbacks that are due run before this is done.
  const turn = () => new Promise((done) => {
    turns.port1.onmessage = () => realTimeout(done);
    postTurn(0);
  });

  // The page gets answers in the order of its requests, whatever order they arrive in.
  const inOrder = (promise) => {
    const before = delivered;
    const arrived = promise.then(() => undefined, () => undefined);
    begin(arrived);
    delivered = before.then(() => arrived);
    delivered.then(() => end(arrived));
    return before.then(() => promise);
  };
  const wrap = (owner, name) => {
    const real = owner[name];
    if (!real) return;
    owner[name] = function (...given) {
      return inOrder(Reflect.apply(real, this, given));
    };
  };
  wrap(window, "fetch");
  for (const name of ["arrayBuffer", "blob", "bytes", "formData", "json", "text"]) wrap(Response.prototype, name);

  const { open, send } = XMLHttpRequest.prototype;
  XMLHttpRequest.prototype.open = function (...given) {
    end(this); // opening again ends a request without an event
    return Reflect.apply(open, this, given);
  };
  XMLHttpRequest.prototype.send = function (...given) {
    begin(this);
    this.addEventListener("loadend", () => end(this), { once: true });
    return Reflect.apply(send, this, given);
  };

  const follow = (element) => {
    if (element.loading === "lazy" || pending.has(element)) return;
    begin(element);
    for (const name of ["load", "error"]) element.addEventListener(name, () => end(element), { once: true });
  };
  const source = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
  Object.defineProperty(HTMLImageElement.prototype, "src", {
    ...source,
    set(address) {
      follow(this);
      source.set.call(this, address);
    },
  });
  // a script or a style is requested when it is put into the document
  new MutationObserver((changes) => {
    if (document.readyState !== "complete") return;
    for (const { addedNodes } of changes) {
      for (const added of addedNodes) {
        const isScript = added instanceof HTMLScriptElement && added.src;
        const isStyle = added instanceof HTMLLinkElement && added.relList.contains("stylesheet");
        if (isScript || isStyle) follow(added);
      }
    }
  }).observe(document, { childList: true, subtree: true });

  for (const owner of [MessagePort.prototype, window]) {
    const real = owner.postMessage;
    owner.postMessage = function (...given) {
      isPosted = true;
      return Reflect.apply(real, this, given);
    };
  }

  const areFontsLoading = () => document.fonts.status === "loading";
  const isOpen = () => !hasGivenUp && (isPosted || pending.size > 0 || areFontsLoading());

  return {
    isOpen,
    // Wait until all that was requested has arrived, and the page's callbacks for it have run.
    async settled() {
      const giveUp = () => {
        hasGivenUp = true;
        wake();
      };
      const timer = realTimeout(giveUp, PATIENCE);
      for (let round = 1; isOpen(); round += 1) {
        isPosted = false;
        await turn();
        if (round === MOST) giveUp();
        else if (isOpen() && !isPosted) {
          const woken = new Promise((done) => (wake = done));
          await Promise.race([woken, ...(areFontsLoading() ? [document.fonts.ready] : [])]);
        }
      }
      realClear(timer);
    },
  };
})();
