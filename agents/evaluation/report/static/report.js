// The replays: each task's worst seeds in one player. Pictures are drawn from an atlas of tiles; a moment
// says which tiles changed since the moment before, and `screens` holds the whole picture of each.

const SPEEDS = [1, 4, 12, 30]; // moments a second

const replays = JSON.parse(document.getElementById("replays").textContent);

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function screens(play) {
  const across = Math.ceil(play.width / play.tile);
  const down = Math.ceil(play.height / play.tile);
  let last = new Int32Array(across * down);
  return play.moments.map((changes) => {
    last = last.slice();
    for (let i = 0; i < changes.length; i += 2) last[changes[i]] = changes[i + 1];
    return last;
  });
}

/** A number with two decimals; null where it is not finite. */
function signed(value) {
  if (value === null) return "–";
  return value.toFixed(2).replace("-", "−");
}

function outcome(play) {
  const count = play.actions.length;
  return `${play.success === null ? "ended" : play.success ? "succeeded" : "failed"} in ${count} step${count > 1 ? "s" : ""}, return ${signed(play.total)}`;
}

class Player {
  constructor(root, seeds) {
    this.seeds = seeds;
    this.moment = 0;
    this.timer = null;
    this.speed = 1;
    this.prepared = new Map();
    this.build(root);
    this.choose(0, 0);
  }

  build(root) {
    const task = root.dataset.task;
    this.canvas = element("canvas");
    this.stage = element("div", {
      class: "stage", role: "img", tabindex: "0", onkeydown: (event) => this.key(event),
    }, this.canvas);
    this.action = element("b");
    this.count = element("span");
    this.about = element("p", { class: "about" });
    this.button = element("button", { class: "play", type: "button", onclick: () => this.toggle() });
    this.slider = element("input", {
      type: "range", min: "0", step: "1", "aria-label": `Moment of ${task}`,
      oninput: () => { this.pause(); this.show(Number(this.slider.value)); },
      onkeydown: (event) => this.key(event),
    });
    this.rate = element("button", {
      type: "button", "aria-label": "Speed", title: "Speed", onclick: () => this.faster(),
    });
    this.seedButtons = this.seeds.map((seed, i) => element("button", {
      type: "button", title: `seed ${seed.seed}: ${seed.reason}`, onclick: () => this.choose(i, this.who),
    }, `…${String(seed.seed).slice(-4)}`));
    this.actors = element("div", { class: "row", role: "group", "aria-label": "Who plays" });
    root.append(
      element("h3", {}, task),
      this.stage,
      element("p", { class: "said", "aria-live": "off" }, this.action, this.count),
      this.about,
      element("div", { class: "row" }, this.button, this.slider, this.rate),
      element("div", { class: "row", role: "group", "aria-label": "Seed" }, ...this.seedButtons),
      this.actors,
    );
    this.label();
  }

  choose(seed, who) {
    this.pause();
    this.seed = seed;
    const plays = this.seeds[seed].plays;
    this.who = Math.min(who ?? 0, plays.length - 1);
    this.play = plays[this.who];
    this.seedButtons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === seed)));
    this.actors.replaceChildren(...(plays.length < 2 ? [] : plays.map((play, i) => element("button", {
      type: "button", "aria-pressed": String(i === this.who), onclick: () => this.choose(seed, i),
    }, play.actor))));
    const key = `${seed}/${this.who}`;
    if (!this.prepared.has(key)) {
      const image = new Image();
      image.src = this.play.atlas;
      this.prepared.set(key, { image, screens: screens(this.play) });
    }
    this.drawn = this.prepared.get(key);
    this.canvas.width = this.play.width;
    this.canvas.height = this.play.height;
    this.slider.max = String(this.play.moments.length - 1);
    const { reason, seed: number } = this.seeds[seed];
    const doubt = this.play.exact ? "" : " · the replay is not exact: this environment does not repeat itself";
    const said = this.play.instruction ? `“${this.play.instruction}” · ` : "";
    this.about.textContent = `${said}seed ${number} · ${reason} · ${this.play.actor} ${outcome(this.play)}${doubt}`;
    this.show(0);
    this.drawn.image.decode().then(() => this.show(this.moment));
  }

  show(moment) {
    const { play } = this;
    this.moment = Math.max(0, Math.min(moment, play.moments.length - 1));
    this.draw();
    this.slider.value = String(this.moment);
    const step = play.at[this.moment];
    const reward = step ? `reward ${signed(play.rewards[step - 1])} · ` : "";
    this.action.textContent = step ? play.actions[step - 1] : "start";
    this.count.textContent = `${reward}step ${step} of ${play.actions.length}`;
    this.slider.setAttribute("aria-valuetext", `step ${step}: ${this.action.textContent}`);
    this.stage.setAttribute("aria-label", `${play.actor}, step ${step} of ${play.actions.length}: ${this.action.textContent}`);
  }

  draw() {
    const { image, screens: all } = this.drawn;
    if (!image.complete || !image.naturalWidth) return;
    const { tile, columns, width } = this.play;
    const across = Math.ceil(width / tile);
    const context = this.canvas.getContext("2d");
    all[this.moment].forEach((number, place) => {
      context.drawImage(
        image, (number % columns) * tile, Math.floor(number / columns) * tile, tile, tile,
        (place % across) * tile, Math.floor(place / across) * tile, tile, tile,
      );
    });
  }

  toggle() {
    if (this.timer) { this.pause(); return; }
    if (this.moment === this.play.moments.length - 1) this.show(0);
    this.timer = setInterval(() => this.tick(), 1000 / SPEEDS[this.speed]);
    this.label();
  }

  tick() {
    this.show(this.moment + 1);
    if (this.moment === this.play.moments.length - 1) this.pause();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.label();
  }

  faster() {
    const playing = this.timer !== null;
    this.pause();
    this.speed = (this.speed + 1) % SPEEDS.length;
    this.label();
    if (playing) this.toggle();
  }

  label() {
    this.button.textContent = this.timer ? "❚❚" : "▶";
    this.button.setAttribute("aria-label", this.timer ? "Pause" : "Play");
    this.rate.textContent = `${SPEEDS[this.speed]}/s`;
  }

  key(event) {
    const moves = {
      ArrowLeft: () => this.show(this.moment - 1),
      ArrowRight: () => this.show(this.moment + 1),
      Home: () => this.show(0),
      End: () => this.show(this.play.moments.length - 1),
      " ": () => this.toggle(),
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    if (event.key !== " ") this.pause();
    move();
  }
}

for (const root of document.querySelectorAll(".player")) {
  new Player(root, replays.filter((replay) => replay.task === root.dataset.task));
}
