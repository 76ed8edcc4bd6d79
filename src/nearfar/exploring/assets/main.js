// ---- main: what is selected, marked, hidden and coloured, and who is told ------------------------------------------
class App {
  constructor(source) {
    this.source = source;
    this.meta = source.meta;
    this.maps = [];
    this.selected = -1;
    this.selection = [];
    this.marked = new Set();
    this.hidden = new Set();
    this.lasso = false;
    this.found = null;
    this.kept = new Map();
  }

  async start() {
    const { meta } = this;
    $("count").textContent = `${grouped(meta.count)} items · ${meta.dim} numbers each`;
    Palette.read();
    this.panel = new Panel(this);
    $("maps").classList.toggle("two", meta.maps.length > 1);
    this.maps = meta.maps.map((one, i) => new MapView($("maps"), i, meta.maps.length > 1 ? `${one.name} · ${one.note}` : one.note, this));
    await Promise.all(this.maps.map((map) => map.load()));
    window.nearfarMaps = this.maps; // for the console, and for tests
    $("colour").replaceChildren(...meta.columns.map((one, i) => make("option", { value: i, textContent: one.name })), make("option", { value: -1, textContent: "nothing" }));
    await this.colourBy(meta.columns.length ? 0 : -1);
    this.listen();
    await this.panel.open("item");
    document.documentElement.dataset.ready = "yes";
  }

  labelOf(one) { return one.values.label === undefined || one.values.label === null ? null : String(one.values.label); }
  nameOf(code) { return code < 0 ? "unknown" : this.column.names[code]; }

  async colourBy(which) {
    $("colour").value = which;
    this.which = which;
    this.hidden = new Set();
    if (which < 0) { this.column = { kind: "class", name: "", names: ["all"] }; this.values = new Int16Array(this.meta.count); } else {
      if (!this.kept.has(which)) this.kept.set(which, await this.source.column(which));
      if (this.which !== which) return;
      this.column = this.meta.columns[which];
      this.values = this.kept.get(which);
    }
    this.places = Palette.places(this.column, this.values);
    this.paint(true);
    if (this.panel.now === "selection" || this.panel.now === "marked") this.panel.draw();
  }

  paint(moved = false) {
    const table = Palette.table(this.column, this.hidden);
    for (const map of this.maps) map.colour(moved ? this.places : null, table, this.column);
    this.legend();
  }

  legend() {
    const { column } = this, place = $("legend");
    if (this.which < 0) { place.replaceChildren(make("h2", { textContent: "No colour" })); return; }
    if (column.kind === "number") {
      const ramp = make("canvas", { className: "ramp", width: 16, height: 144 }), pen = ramp.getContext("2d");
      for (let y = 0; y < 144; y++) { pen.fillStyle = Palette.ofShare(1 - y / 143); pen.fillRect(0, y, 16, 1); }
      const number = (value) => Number(value.toPrecision(4)).toLocaleString("en");
      place.replaceChildren(make("h2", { textContent: column.name }), make("div", { className: "scale" }, ramp, make("div", {}, make("span", { textContent: number(column.most) }), make("span", { textContent: number((column.most + column.least) / 2) }), make("span", { textContent: number(column.least) }))));
      return;
    }
    const counts = column.counts, codes = [...counts.keys()].filter((code) => counts[code] > 0), unknown = column.unknown ? [-1] : [];
    const lines = [...codes, ...unknown].slice(0, 300).map((code) => {
      const dot = make("i"), button = make("button", { type: "button", title: "Click hides or shows it; double-click shows it alone" }, dot, make("span", { textContent: this.nameOf(code) }), make("small", { textContent: grouped(code < 0 ? column.unknown : counts[code]) }));
      dot.style.background = Palette.ofClass(code);
      button.setAttribute("aria-pressed", String(!this.hidden.has(code)));
      button.addEventListener("click", (event) => {
        const others = [...codes, ...unknown].filter((other) => other !== code);
        if (event.detail === 1) this.before = new Set(this.hidden);
        if (event.detail > 1) this.hidden = new Set(this.before.size === others.length && !this.before.has(code) ? [] : others);
        else if (!this.hidden.delete(code)) this.hidden.add(code);
        this.paint();
        [...place.querySelectorAll("button")].find((one) => one.dataset.code === String(code))?.focus();
      });
      button.dataset.code = code;
      return make("li", {}, button);
    });
    const all = this.hidden.size ? make("button", { type: "button", textContent: "Show all" }) : null;
    if (all) all.addEventListener("click", () => { this.hidden = new Set(); this.paint(); });
    place.replaceChildren(make("h2", { textContent: column.name }), make("ul", {}, ...lines), ...(all ? [all] : []), make("p", { className: "hint", textContent: "Click hides or shows, double-click shows one alone." }));
  }

  redraw() { for (const map of this.maps) map.redraw(); }

  // Chooses one item; -1 lets go.
  async pick(row, stay = false) {
    this.selected = row;
    this.found = null;
    for (const map of this.maps) { map.near = []; map.hover(-1); if (row >= 0) map.reveal(row); map.light(); }
    if (row >= 0) {
      const [one] = await this.source.rows([row]);
      say([this.labelOf(one), one.id].filter(Boolean).join(", "));
      if (stay) {
        this.panel.draw();
        this.connect(await Promise.all(this.maps.map((map) => this.source.neighbours(row, this.meta.k, map.which))));
        return;
      }
    }
    await this.panel.open("item");
  }

  connect(lists) {
    this.maps.forEach((map, i) => { map.near = lists[i].map((hit) => hit.row); map.light(); });
  }

  // Shows what was found by an id, a text or a file.
  show(found) {
    this.found = found;
    this.selected = -1;
    for (const map of this.maps) { map.near = found ? found.hits.map((hit) => hit.row) : []; map.light(); }
    if (found) say(`${found.title}: ${found.hits.length} found`);
    return this.panel.open("item");
  }

  select(rows, open = true) {
    this.selection = rows;
    if (rows.length && open) { this.selected = -1; this.found = null; for (const map of this.maps) map.near = []; }
    let chosen = null;
    if (rows.length) { chosen = new Uint8Array(this.meta.count); for (const row of rows) chosen[row] = 1; }
    for (const map of this.maps) { map.cloud.choose(chosen); map.redraw(); }
    say(rows.length ? `${grouped(rows.length)} selected` : "selection cleared");
    this.setLasso(false);
    return open ? this.panel.open("selection") : this.panel.counts();
  }

  mark(rows, on) {
    for (const row of rows) if (on) this.marked.add(row); else this.marked.delete(row);
    say(`${grouped(this.marked.size)} marked`);
    for (const map of this.maps) map.light();
    this.panel.keepScroll = true;
    this.panel.draw();
  }

  async export(rows, name) {
    try { download(`${name}.csv`, await this.source.csv(rows)); say(`${grouped(rows.length)} ids exported`); } catch (error) { this.fail(error); }
  }

  setLasso(on) {
    this.lasso = on;
    for (const map of this.maps) map.lassoButton.setAttribute("aria-pressed", String(on));
  }

  fail(error) { this.show({ title: "That did not work", note: error.message, hits: [] }); }

  async find(text) {
    if (!text.trim()) return;
    try {
      const rows = await this.source.find(text);
      if (rows.length === 1) { await this.pick(rows[0]); return; }
      if (!rows.length && this.meta.text) {
        await this.show({ title: `“${text}”`, note: `no id has these letters; the nearest items by meaning`, hits: await this.source.askText(text, this.meta.k) });
        return;
      }
      const note = rows.length ? `ids with these letters${rows.length >= 60 ? "; the first 60" : ""}` : "no id has these letters";
      await this.show({ title: `“${text}”`, note, hits: rows.map((row) => ({ row })) });
    } catch (error) { this.fail(error); }
  }

  async upload(file) {
    if (!file) return;
    try {
      const picture = file.type.startsWith("image/") ? make("img", { alt: "the file", src: URL.createObjectURL(file) }) : null;
      const hits = await this.source.upload(file, this.meta.k);
      await this.show({ title: file.name, note: `${hits.length} nearest items, with ${this.meta.metric} distance`, hits, picture });
    } catch (error) { this.fail(error); }
  }

  listen() {
    $("colour").addEventListener("change", () => this.colourBy(Number($("colour").value)).catch((error) => this.fail(error)));
    $("finder").addEventListener("submit", (event) => { event.preventDefault(); $("find").blur(); this.find($("find").value); });
    if (this.meta.text) $("find").placeholder = "Find an id or a text …";
    if (this.meta.upload) {
      $("upload").hidden = false;
      $("upload").textContent = `Search by ${this.meta.upload}`;
      $("upload").addEventListener("click", () => $("file").click());
      $("file").addEventListener("change", () => { this.upload($("file").files[0]); $("file").value = ""; });
      let depth = 0;
      const shown = (by) => { depth += by; $("drop").hidden = depth <= 0; };
      addEventListener("dragenter", (event) => { event.preventDefault(); shown(1); });
      addEventListener("dragleave", () => shown(-1));
      addEventListener("dragover", (event) => event.preventDefault());
      addEventListener("drop", (event) => { event.preventDefault(); depth = 0; shown(0); this.upload(event.dataTransfer.files[0]); });
    }
    $("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark", true));
    addEventListener("themed", () => { Palette.read(); this.paint(); this.redraw(); });
    $("help").addEventListener("click", () => $("keys").showModal());
    $("keylist").replaceChildren(...KEYS.flatMap(([keys, what]) => [make("dt", {}, ...keys.flatMap((key) => [make("kbd", { textContent: key }), " "])), make("dd", { textContent: what })]));
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if (event.key === "Escape") { if (typing) event.target.blur(); else if (this.lasso) this.setLasso(false); else if (this.selected >= 0 || this.found) this.pick(-1); else if (this.selection.length) this.select([]); return; }
      if (typing) return;
      const acts = {
        "/": () => $("find").focus(),
        "?": () => $("keys").showModal(),
        l: () => this.setLasso(!this.lasso),
        m: () => { if (this.selected >= 0) this.mark([this.selected], !this.marked.has(this.selected)); else if (this.panel.now === "selection" && this.selection.length) this.mark(this.selection, true); },
        e: () => { if (this.marked.size) this.export([...this.marked].sort((a, b) => a - b), "marked"); },
        t: () => $("theme").click(),
      };
      const act = acts[event.key.length === 1 ? event.key.toLowerCase() : ""];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }
}

const KEYS = [
  [["←", "↑", "→", "↓"], "on the map: walk to the next point in that direction"],
  [["Shift + arrows"], "move the map"],
  [["+", "−", "0"], "zoom in, zoom out, show everything"],
  [["L"], "lasso on or off; Shift while dragging does the same"],
  [["V"], "on the map: select all that is in sight"],
  [["M"], "mark the item, or the selection"],
  [["E"], "export the marked ids as CSV"],
  [["/"], "find an id"],
  [["T"], "light or dark"],
  [["Esc"], "let go: lasso, then item, then selection"],
];

function setTheme(name, keep = false) {
  document.documentElement.dataset.theme = name;
  if (keep) try { localStorage.setItem("nearfar theme", name); } catch { /* not kept */ }
  dispatchEvent(new Event("themed"));
}

async function begin() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try { kept = localStorage.getItem("nearfar theme"); } catch { /* the system's */ }
  setTheme(kept || (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => { try { if (localStorage.getItem("nearfar theme")) return; } catch { /* follow */ } setTheme(dark.matches ? "dark" : "light"); });
  const source = document.getElementById("data") ? new Embedded() : new Remote();
  await source.start();
  await new App(source).start();
}

begin().catch((error) => {
  console.error(error);
  document.querySelector(".work").replaceChildren(make("p", { className: "fatal", textContent: `The map cannot be shown: ${error.message}` }));
});
