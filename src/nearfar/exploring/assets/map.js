// ---- map: one cloud with its pointer, keys, lasso, rings and names -------------------------------------------------
class MapView {
  constructor(place, which, title, app) {
    this.app = app;
    this.which = which;
    this.title = title;
    this.low = make("canvas");
    this.low.setAttribute("aria-hidden", "true");
    this.over = make("canvas", { className: "over", tabIndex: 0 });
    this.over.setAttribute("role", "application");
    this.over.setAttribute("aria-label", `${title}: map of ${grouped(app.meta.count)} items. Arrow keys walk from point to point; ? tells all keys.`);
    this.pen = this.over.getContext("2d");
    this.tip = make("div", { className: "tip", hidden: true });
    this.tip.setAttribute("aria-hidden", "true");
    const tool = (text, hint, act, toggle = false) => {
      const button = make("button", { type: "button", textContent: text, title: hint });
      button.setAttribute("aria-label", hint);
      if (toggle) button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", act);
      return button;
    };
    this.lassoButton = tool("Lasso", "Lasso: draw around points to select them (L)", () => app.setLasso(!app.lasso), true);
    const tools = make("div", { className: "tools" }, this.lassoButton, tool("+", "Zoom in (+)", () => this.zoom(1.6)), tool("−", "Zoom out (-)", () => this.zoom(1 / 1.6)), tool("Fit", "Show everything (0)", () => this.fit()));
    this.element = make("div", { className: "map" }, this.low, this.over, tools, make("h2", { textContent: title }), this.tip);
    place.append(this.element);
    this.hovered = -1;
    this.near = [];
    this.path = null;
    this.names = [];
    this.timer = 0;
  }

  async load() {
    this.cloud = new Cloud(this.low, await this.app.source.map(this.which));
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.element);
    this.resize();
  }

  // Where on the canvas a row is drawn.
  place(row) { return [this.cloud.px(this.cloud.at[row]), this.cloud.py(this.cloud.at[row])]; }

  resize() {
    this.cloud.resize();
    this.over.width = this.low.width;
    this.over.height = this.low.height;
    this.redraw();
  }

  colour(places, table, column) {
    this.cloud.colour(places, table);
    this.names = column.kind === "class" && column.names.length > 1 ? this.cloud.middles(Math.min(column.names.length, 40)) : [];
    this.column = column;
    this.redraw();
  }

  // Soon: a quick picture now, the whole one when nothing has moved for a moment.
  redraw(moving = false) {
    this.moving = moving;
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      const whole = this.cloud.draw(Palette.theme.paper, this.moving ? 14 : 0);
      this.drawOver();
      clearTimeout(this.timer);
      if (!whole) this.timer = setTimeout(() => this.redraw(), 120);
    });
  }

  light() { if (!this.lit) { this.lit = true; requestAnimationFrame(() => { this.lit = false; this.drawOver(); }); } }

  drawOver() {
    const { pen, cloud } = this, theme = Palette.theme, place = (row) => this.place(row);
    if (!cloud.width) return;
    pen.setTransform(cloud.dense, 0, 0, cloud.dense, 0, 0);
    pen.clearRect(0, 0, cloud.width, cloud.height);
    const radius = Math.min(7, cloud.radius());
    const ring = (row, size, colour, line = 2) => {
      const [x, y] = place(row);
      if (x < -20 || y < -20 || x > cloud.width + 20 || y > cloud.height + 20) return;
      pen.beginPath();
      pen.arc(x, y, size, 0, 7);
      pen.lineWidth = line + 2;
      pen.strokeStyle = theme.paper;
      pen.stroke();
      pen.lineWidth = line;
      pen.strokeStyle = colour;
      pen.stroke();
    };
    let count = 0;
    for (const row of this.app.marked) if (count++ < 5000) ring(row, radius + 3, theme.accent, 1.5);
    const selected = this.app.selected;
    if (selected >= 0 && this.near.length) {
      const [x, y] = place(selected);
      pen.lineWidth = 1;
      pen.strokeStyle = theme.ink;
      pen.globalAlpha = 0.55;
      for (const row of this.near) { const [a, b] = place(row); pen.beginPath(); pen.moveTo(x, y); pen.lineTo(a, b); pen.stroke(); }
      pen.globalAlpha = 1;
    }
    for (const row of this.near) ring(row, radius + 2.5, theme.ink, 1.5);
    if (selected >= 0) ring(selected, radius + 5, theme.accent, 3);
    if (this.hovered >= 0) ring(this.hovered, radius + 3, theme.ink);
    this.drawNames();
    if (this.path) {
      pen.beginPath();
      this.path.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.fillStyle = theme.accent;
      pen.globalAlpha = 0.12;
      pen.fill();
      pen.globalAlpha = 1;
      pen.setLineDash([6, 4]);
      pen.lineWidth = 2;
      pen.strokeStyle = theme.accent;
      pen.stroke();
      pen.setLineDash([]);
    }
  }

  // The names of the classes where their middles are; of two that would overlap the larger class keeps its name.
  drawNames() {
    const { pen, cloud } = this, taken = [];
    pen.font = "600 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', Arial, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    for (const one of this.names) {
      if (this.app.hidden.has(one.code)) continue;
      const name = this.column.names[one.code], text = name.length > 28 ? `${name.slice(0, 27)}…` : name;
      const x = one.x * cloud.view.scale + cloud.view.left, y = one.y * cloud.view.scale + cloud.view.top, half = pen.measureText(text).width / 2 + 4;
      if (x - half < 0 || x + half > cloud.width || y < 10 || y > cloud.height - 10) continue;
      if (taken.some(([a, b, c]) => Math.abs(a - x) < b + half && Math.abs(c - y) < 18)) continue;
      taken.push([x, half, y]);
      pen.lineWidth = 4;
      pen.strokeStyle = Palette.theme.paper;
      pen.strokeText(text, x, y);
      pen.fillStyle = Palette.theme.ink;
      pen.fillText(text, x, y);
    }
  }

  zoom(factor, x, y) { this.hover(-1); this.cloud.zoom(factor, x, y); this.redraw(true); }
  move(dx, dy) { this.hover(-1); this.cloud.move(dx, dy); this.redraw(true); }
  fit() { this.cloud.fit(); this.redraw(); }

  // Moves the map so that a row is in sight.
  reveal(row) {
    const { cloud } = this, x = cloud.px(cloud.at[row]), y = cloud.py(cloud.at[row]);
    if (x < 10 || y < 10 || x > cloud.width - 10 || y > cloud.height - 10) { cloud.move(cloud.width / 2 - x, cloud.height / 2 - y); this.redraw(); }
  }

  async hover(row) {
    if (row === this.hovered) return;
    this.hovered = row;
    this.tip.hidden = true;
    this.light();
    if (row < 0) return;
    const [one] = await this.app.source.rows([row]);
    if (this.hovered !== row) return;
    const label = this.app.labelOf(one);
    this.tip.replaceChildren(...(this.app.meta.pictures ? [this.app.source.picture(row)] : []), ...(label ? [make("b", { textContent: label }), make("br")] : []), one.id.length > 90 ? `${one.id.slice(0, 87)}…` : one.id);
    this.tip.hidden = false;
    const { cloud } = this, x = cloud.px(cloud.at[row]), y = cloud.py(cloud.at[row]), { offsetWidth: w, offsetHeight: h } = this.tip;
    this.tip.style.left = `${Math.max(4, x + 16 + w > cloud.width ? x - 16 - w : x + 16)}px`;
    this.tip.style.top = `${Math.max(4, Math.min(cloud.height - h - 4, y - h / 2))}px`;
  }

  listen() {
    const { over } = this, held = new Map();
    let grabbed = null, pinched = 0;
    const at = (event) => { const box = over.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    over.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      over.focus({ preventScroll: true, focusVisible: false });
      over.setPointerCapture(event.pointerId);
      held.set(event.pointerId, at(event));
      if (held.size === 2) { const [a, b] = [...held.values()]; pinched = Math.hypot(a[0] - b[0], a[1] - b[1]); grabbed = null; this.path = null; return; }
      grabbed = { at: at(event), moved: false };
      if (this.app.lasso || event.shiftKey) this.path = [at(event)];
    });
    over.addEventListener("pointermove", (event) => {
      const here = at(event);
      if (!held.has(event.pointerId)) { this.hover(this.cloud.closest(...here, 14)); return; }
      held.set(event.pointerId, here);
      if (held.size === 2) {
        const [a, b] = [...held.values()], now = Math.hypot(a[0] - b[0], a[1] - b[1]);
        this.zoom(now / (pinched || now), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
        pinched = now;
        return;
      }
      if (!grabbed) return;
      const dx = here[0] - grabbed.at[0], dy = here[1] - grabbed.at[1];
      if (!grabbed.moved && Math.hypot(dx, dy) < 4) return;
      grabbed = { at: here, moved: true };
      if (this.path) { this.path.push(here); this.light(); return; }
      over.classList.add("moving");
      this.move(dx, dy);
    });
    const release = (event) => {
      held.delete(event.pointerId);
      over.classList.remove("moving");
      if (!grabbed) return;
      const { moved } = grabbed, done = this.path;
      grabbed = null;
      this.path = null;
      if (event.type !== "pointerup") { this.light(); return; }
      if (done && moved && done.length > 2) this.app.select(this.cloud.inPolygon(done));
      else if (!moved) this.app.pick(this.cloud.closest(...at(event), 14));
      this.redraw();
    };
    over.addEventListener("pointerup", release);
    over.addEventListener("pointercancel", release);
    over.addEventListener("pointerleave", () => this.hover(-1));
    over.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0018)), ...at(event));
    }, { passive: false });
    over.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }, { selected } = this.app, { cloud } = this;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const middle = selected >= 0 ? [cloud.px(cloud.at[selected]), cloud.py(cloud.at[selected])] : [cloud.width / 2, cloud.height / 2];
    if (event.key in ways) {
      const [dx, dy] = ways[event.key];
      if (event.shiftKey) this.move(-80 * dx, -80 * dy);
      else if (selected < 0) this.app.pick(cloud.closest(cloud.width / 2, cloud.height / 2, Math.max(cloud.width, cloud.height)));
      else { const next = cloud.toward(selected, dx, dy); if (next >= 0) this.app.pick(next); }
    } else if (event.key === "+" || event.key === "=") this.zoom(1.5, ...middle);
    else if (event.key === "-") this.zoom(1 / 1.5, ...middle);
    else if (event.key === "0") this.fit();
    else if (event.key === "v" || event.key === "V") this.app.select(cloud.inSight());
    else return;
    event.preventDefault();
  }
}
