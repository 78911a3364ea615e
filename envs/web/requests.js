// What a page requests of its own folder arrives before the page's time goes on, so that it depends on actions only.
// Not covered: `import` in modules, bodies that are read as streams, frames, sound and video; and whether a picture
// arrives before a script's request of the same time.
const requests = (() => {
  "use strict";
  const PATIENCE = 10000; // ms of real time that one wait takes at most, against requests that never end
  const MOST = 200; // most rounds of one wait, against pages that request endlessly
  const SCRIPT = /^$|^module$|^(text|application)\/(java|ecma)script$/i;
  const LINK = /(^|\s)(stylesheet|preload|modulepreload)(\s|$)/i;
  const PARTS = "link, style, image, input[type=image]";
  const realTimeout = window.setTimeout.bind(window);
  const realClear = window.clearTimeout.bind(window);
  const turns = new MessageChannel();
  const postTurn = turns.port2.postMessage.bind(turns.port2);
  const pending = new Set();
  const fetched = new WeakSet(); // responses of the folder, not those that a page makes itself
  const sent = new WeakMap(); // XMLHttpRequest → its present request
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
  const wrap = (owner, names, around) => {
    for (const name of names) {
      const real = owner[name];
      if (real) owner[name] = function (...given) {
        return around(this, () => Reflect.apply(real, this, given), given);
      };
    }
  };
  const BODY = ["arrayBuffer", "blob", "bytes", "formData", "json", "text"];
  wrap(window, ["fetch"], (_, real) => inOrder(real().then((response) => {
    fetched.add(response);
    return response;
  })));
  wrap(Response.prototype, BODY, (response, real) => (fetched.has(response) ? inOrder(real()) : real()));
  wrap(Response.prototype, ["clone"], (response, real) => {
    const copy = real();
    if (fetched.has(response)) fetched.add(copy);
    return copy;
  });
  wrap(Blob.prototype, ["arrayBuffer", "bytes", "text"], (_, real) => inOrder(real()));
  wrap(window, ["createImageBitmap"], (_, real) => inOrder(real()));
  wrap(HTMLCanvasElement.prototype, ["toBlob"], (_, real, given) => {
    const [tell] = given;
    const request = {};
    if (typeof tell === "function") given[0] = function (...blob) {
      end(request);
      return Reflect.apply(tell, this, blob);
    };
    const nothing = real();
    begin(request);
    return nothing;
  });

  // An object that tells by `loadend` that it is done; it may begin again before that is told.
  const loads = (loader, isBusy) => {
    const request = {};
    const hear = () => {
      if (isBusy(loader)) return;
      loader.removeEventListener("loadend", hear);
      end(request);
    };
    sent.set(loader, request);
    begin(request);
    loader.addEventListener("loadend", hear);
  };
  const synchronous = new WeakSet();
  wrap(XMLHttpRequest.prototype, ["open"], (request, real, given) => {
    const nothing = real();
    end(sent.get(request)); // opening again ends a request without an event
    if (given.length > 2 && !given[2]) synchronous.add(request);
    else synchronous.delete(request);
    return nothing;
  });
  wrap(XMLHttpRequest.prototype, ["send"], (request, real) => {
    const nothing = real();
    if (!synchronous.has(request)) loads(request, ({ readyState }) => readyState > 0 && readyState < 4);
    return nothing;
  });
  const READS = ["readAsArrayBuffer", "readAsBinaryString", "readAsDataURL", "readAsText"];
  wrap(FileReader.prototype, READS, (reader, real) => {
    const nothing = real();
    loads(reader, ({ readyState }) => readyState === FileReader.LOADING);
    return nothing;
  });

  const follow = (element) => {
    if (pending.has(element)) return;
    begin(element);
    for (const name of ["load", "error"]) element.addEventListener(name, () => end(element), { once: true });
  };
  for (const name of ["src", "srcset"]) {
    const property = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, name);
    Object.defineProperty(HTMLImageElement.prototype, name, {
      ...property,
      set(address) {
        follow(this);
        property.set.call(this, address);
      },
    });
  }
  const setAttribute = Element.prototype.setAttribute;
  HTMLImageElement.prototype.setAttribute = function (name, value) {
    if (/^src(set)?$/i.test(name)) follow(this);
    return setAttribute.call(this, name, value);
  };
  // a script or a style is requested when it is put into the document
  const isRequested = (part) =>
    (part instanceof HTMLScriptElement && part.src && SCRIPT.test(part.type)) ||
    (part instanceof HTMLLinkElement && part.href && LINK.test(part.rel)) ||
    (part instanceof HTMLStyleElement && /@import/i.test(part.textContent)) ||
    (part instanceof SVGImageElement && part.href.baseVal) ||
    (part instanceof HTMLInputElement && part.type === "image" && part.src);
  new MutationObserver((changes) => {
    if (document.readyState !== "complete") return;
    for (const { addedNodes } of changes) {
      for (const added of addedNodes) {
        if (!(added instanceof Element) || !added.isConnected) continue;
        const parts = added.firstElementChild ? added.querySelectorAll(PARTS) : [];
        for (const part of [added, ...parts]) if (isRequested(part)) follow(part);
      }
    }
  }).observe(document, { childList: true, subtree: true });

  for (const owner of [MessagePort.prototype, window]) {
    wrap(owner, ["postMessage"], (_, real) => {
      isPosted = true;
      return real();
    });
  }

  wrap(HTMLImageElement.prototype, ["decode"], (image, real) => {
    const promise = real();
    if (!isIdle(image)) {
      begin(promise);
      promise.then(() => end(promise), () => end(promise));
    }
    return promise;
  });

  // A picture whose address was taken away, or that waits to be seen, is not loaded.
  const isIdle = (element) =>
    element instanceof HTMLImageElement &&
    (element.loading === "lazy" || !(element.getAttribute("src") || element.getAttribute("srcset")));
  const isWaiting = () => {
    for (const image of document.images) if (!image.complete && !isIdle(image)) follow(image);
    for (const request of pending) if (isIdle(request)) pending.delete(request);
    return pending.size > 0 || document.fonts.status === "loading";
  };
  const isOpen = () => !hasGivenUp && (isPosted || isWaiting());

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
          const fonts = document.fonts.status === "loading" ? [document.fonts.ready] : [];
          await Promise.race([woken, ...fonts]);
        }
      }
      realClear(timer);
    },
  };
})();
