// The way to the server for whoever runs the study: what is asked, and what is decided.
//
//   const admin = new Admin();
//   await admin.arrive();                      // → whether this browser is signed in
//   await admin.ask("/admin/figures");         // → parsed JSON; throws SignedOut, or an Error in words
//   await admin.post("/admin/decide", {...});

export class SignedOut extends Error {}

export class Admin {
  #csrf = "";

  async arrive() {
    return this.#remember(await this.ask("/admin/session"));
  }

  async signIn(token) {
    return this.#remember(await (await this.post("/admin/login", { token })).json());
  }

  async signOut() {
    await this.post("/admin/logout", {});
  }

  async ask(path) {
    return (await this.#fetch(path)).json();
  }

  /** Open a body that comes piece by piece. */
  async open(path, signal) {
    return (await this.#fetch(path, { signal })).body.getReader();
  }

  post(path, body) {
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": this.#csrf };
    return this.#fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  #remember({ signedIn, csrf }) {
    this.#csrf = csrf;
    return signedIn;
  }

  async #fetch(path, options = {}) {
    const response = await fetch(path, options);
    if (response.status === 401) throw new SignedOut();
    if (!response.ok) throw new Error((await response.text()) || `the server answered ${response.status}`);
    return response;
  }
}
