// ---- panel: what stands beside the map: an item, a selection, duplicates, doubtful labels, marks -------------------
class Panel {
  constructor(app) {
    this.app = app;
    this.shown = 0;
    this.now = "item";
    this.tabs = [["item", "Item"], ["selection", "Selection"], ["duplicates", "Duplicates"], ["doubts", "Label errors"], ["marked", "Marked"]];
    if (!app.meta.columns.some((one) => one.name === "label")) this.tabs.splice(3, 1);
    if (!app.meta.findings) this.tabs = this.tabs.filter(([name]) => name !== "duplicates" && name !== "doubts");
    this.buttons = Object.fromEntries(this.tabs.map(([name, text]) => {
      const button = make("button", { type: "button", id: `tab-${name}` }, text);
      button.setAttribute("role", "tab");
      button.setAttribute("aria-controls", "view");
      button.addEventListener("click", () => this.open(name));
      button.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!step) return;
        const names = this.tabs.map(([one]) => one), next = names[(names.indexOf(name) + step + names.length) % names.length];
        this.open(next);
        this.buttons[next].focus();
        event.preventDefault();
      });
      return [name, button];
    }));
    $("tabs").append(...Object.values(this.buttons));
  }

  open(name) {
    this.now = name;
    for (const [other, button] of Object.entries(this.buttons)) {
      button.setAttribute("aria-selected", String(other === name));
      button.tabIndex = other === name ? 0 : -1;
    }
    $("view").setAttribute("aria-labelledby", `tab-${name}`);
    return this.draw();
  }

  counts() {
    const numbers = { selection: this.app.selection.length, marked: this.app.marked.size };
    for (const [name, text] of this.tabs) this.buttons[name].replaceChildren(text, ...(numbers[name] ? [make("small", { textContent: grouped(numbers[name]) })] : []));
  }

  // Draws the open tab; what arrives late for one that is no longer wanted is dropped.
  async draw() {
    this.counts();
    const turn = ++this.shown, kept = this.now === this.drawn ? $("view").scrollTop : 0;
    try {
      const parts = await this[this.now]();
      if (turn !== this.shown) return;
      $("view").replaceChildren(...parts.filter((part) => part !== null));
      $("view").scrollTop = this.keepScroll ? kept : 0;
      this.drawn = this.now;
      this.keepScroll = false;
    } catch (error) {
      if (turn === this.shown) $("view").replaceChildren(make("p", { textContent: `This cannot be shown: ${error.message}` }));
    }
  }

  button(text, act, options = {}) {
    const made = make("button", { type: "button", textContent: text, ...options });
    made.addEventListener("click", act);
    return made;
  }

  bar(...children) { return make("div", { className: "bar" }, ...children); }

  // A grid of items with captions; `hits` are {row, distance?}.
  async grid(hits, truth = null) {
    const rows = await this.app.source.rows(hits.map((hit) => hit.row));
    const cells = hits.map((hit, i) => {
      const one = rows[i], label = this.app.labelOf(one);
      const agrees = truth !== null && label !== null ? (label === truth ? "same" : "other") : "";
      const caption = label === null ? one.id.split("/").pop() : (agrees ? (agrees === "same" ? "✓ " : "✗ ") : "") + label;
      const button = this.button("", () => this.app.pick(hit.row), { title: label === null ? one.id : `${label} · ${one.id}`, className: [agrees, this.app.marked.has(hit.row) ? "marked" : "", hit.row === this.app.selected ? "now" : ""].filter(Boolean).join(" ") });
      button.append(this.app.source.picture(hit.row), make("b", { textContent: caption }), hit.distance === undefined ? "" : make("small", { textContent: distanceText(hit.distance) }));
      return make("li", {}, button);
    });
    return make("ol", { className: "grid" }, ...cells);
  }

  markButton(rows, text) {
    return this.button(text, () => this.app.mark(rows, true), { className: "main", disabled: !rows.length });
  }

  async item() {
    const { app } = this;
    if (app.found) return this.foundItems();
    if (app.selected < 0) {
      return [make("h2", { textContent: "Nothing is chosen yet" }),
        make("p", { className: "soft", textContent: "Click a point to see it with its nearest neighbours, draw a lasso to see many at once, or find an id above." }),
        make("p", { className: "soft", textContent: "By keyboard: Tab to the map, then the arrow keys walk from point to point. ? tells all keys." })];
    }
    const [one] = await app.source.rows([app.selected]), label = app.labelOf(one);
    const facts = Object.entries(one.values).map(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: typeof value === "number" && !Number.isInteger(value) ? distanceText(value) : String(value) })]).flat();
    const marked = app.marked.has(app.selected), player = app.source.content(app.selected);
    const head = make("div", { className: "item" }, app.source.picture(app.selected), make("div", {}, make("h2", { textContent: one.id }), make("dl", { className: "facts" }, ...facts), this.bar(this.button(marked ? "Marked ✓" : "Mark (M)", () => app.mark([app.selected], !marked), { ariaPressed: String(marked) }))), player);
    const lists = await Promise.all(app.maps.map((map) => app.source.neighbours(app.selected, app.meta.k, map.which)));
    app.connect(lists);
    if (lists.length === 1) {
      const agree = await this.agreement(lists[0], label);
      return [head, make("h3", { textContent: `Nearest neighbours, with ${app.meta.metric} distance` }), agree, await this.grid(lists[0], label)];
    }
    const second = new Set(lists[1].map((hit) => hit.row)), shared = lists[0].filter((hit) => second.has(hit.row)).length;
    const columns = await Promise.all(lists.map(async (hits, i) => make("div", {}, make("h3", { textContent: app.meta.maps[i].name }), await this.agreement(hits, label), await this.grid(hits, label))));
    return [head, make("p", { className: "soft", textContent: `${shared} of ${lists[0].length} neighbours are the same in both` }), make("div", { className: "pair" }, ...columns)];
  }

  async agreement(hits, label) {
    if (label === null || !hits.length) return null;
    const rows = await this.app.source.rows(hits.map((hit) => hit.row)), same = rows.filter((one) => this.app.labelOf(one) === label).length;
    return make("p", { className: "soft", textContent: `${same} of ${hits.length} have its label` });
  }

  async foundItems() {
    const { title, hits, note } = this.app.found;
    const picture = this.app.found.picture ? make("div", { className: "item" }, make("div", { className: "picture" }, this.app.found.picture), make("div", {}, make("h2", { textContent: title }), make("p", { className: "soft", textContent: note }))) : null;
    const close = this.bar(this.button("Close", () => this.app.show(null)), this.button("Select these", () => this.app.select(hits.map((hit) => hit.row)), { disabled: !hits.length }));
    return [...(picture ? [picture] : [make("h2", { textContent: title }), make("p", { className: "soft", textContent: note })]), close, await this.grid(hits)];
  }

  async selection() {
    const rows = this.app.selection;
    if (!rows.length) return [make("h2", { textContent: "No selection" }), make("p", { className: "soft", textContent: "Draw a lasso around points (L, or hold Shift while dragging), or press V on the map to select what is in sight." })];
    return this.many(rows, `${grouped(rows.length)} selected`, [this.markButton(rows, "Mark all"), this.button("Export CSV", () => this.app.export(rows, "selection")), this.button("Clear", () => this.app.select([]))]);
  }

  async marked() {
    const rows = [...this.app.marked].sort((a, b) => a - b);
    if (!rows.length) return [make("h2", { textContent: "Nothing is marked" }), make("p", { className: "soft", textContent: "Mark items with M, or whole selections, and export their ids as CSV." })];
    return this.many(rows, `${grouped(rows.length)} marked`, [this.button("Export CSV", () => this.app.export(rows, "marked"), { className: "main" }), this.button("Unmark all", () => this.app.mark(rows, false))]);
  }

  async many(rows, title, buttons) {
    const step = 120, list = await this.grid(rows.slice(0, step).map((row) => ({ row })));
    let count = step;
    const more = this.button("", async () => {
      const next = await this.grid(rows.slice(count, count + step).map((row) => ({ row })));
      list.append(...next.children);
      count += step;
      label();
    });
    const label = () => { more.hidden = count >= rows.length; more.textContent = `Show ${Math.min(step, rows.length - count)} more of ${grouped(rows.length - count)}`; };
    label();
    return [make("h2", { textContent: title }), this.bar(...buttons), this.shares(rows), list, this.bar(more)];
  }

  // How a selection is made up, by what the map is coloured by.
  shares(rows) {
    const { column, values } = this.app;
    if (!column || column.kind === "number") return null;
    const counts = new Map();
    for (const row of rows) counts.set(values[row], (counts.get(values[row]) || 0) + 1);
    const sorted = [...counts].sort((a, b) => b[1] - a[1]), most = sorted[0][1];
    const lines = sorted.slice(0, 6).map(([code, count]) => {
      const stripe = make("i");
      stripe.style.width = `${(count / most) * 100}%`;
      stripe.style.background = Palette.ofClass(code);
      return make("li", {}, make("span", { textContent: this.app.nameOf(code), title: this.app.nameOf(code) }), stripe, make("small", { textContent: grouped(count) }));
    });
    return make("ul", { className: "shares" }, ...lines, sorted.length > 6 ? make("li", {}, make("span", { className: "soft", textContent: `and ${sorted.length - 6} more` })) : null);
  }

  // What the service still computes is asked for again until it is there.
  waiting(state, name) {
    setTimeout(() => { if (this.now === name) { this.keepScroll = true; this.draw(); } }, 700);
    return [make("h2", { textContent: "Comparing every item with its neighbours …" }), make("progress", { max: 1, value: state.progress }), make("p", { className: "soft", textContent: "This is done once." })];
  }

  async duplicates() {
    const state = await this.app.source.duplicates(this.cut ?? null);
    if (!state.ready) return this.waiting(state, "duplicates");
    const slider = make("input", { type: "range", min: 0, max: 1000, value: Math.round(1000 * Math.sqrt(state.cut / (state.most || 1))) });
    slider.setAttribute("aria-label", "largest distance of duplicates");
    const said = make("output", { textContent: distanceText(state.cut) });
    slider.addEventListener("input", () => { said.textContent = distanceText((slider.value / 1000) ** 2 * state.most); });
    slider.addEventListener("change", () => { this.cut = (slider.value / 1000) ** 2 * state.most; this.keepScroll = true; this.draw(); });
    const title = state.total ? `${grouped(state.total)} groups, ${grouped(state.items)} items` : "No duplicates up to this distance";
    const groups = await Promise.all(state.groups.slice(0, 60).map(async (group) => make("div", { className: "group" }, make("p", {}, `${group.rows.length} items, closest ${distanceText(group.distance)}`, this.button("Select", () => this.app.select(group.rows, false))), await this.grid(group.rows.slice(0, 12).map((row) => ({ row }))))));
    const spare = state.groups.flatMap((group) => group.rows.slice(1));
    return [make("h2", { textContent: title }), make("p", { className: "soft", textContent: `Items whose ${this.app.meta.metric} distance is at most the cut, joined into groups.` }),
      this.bar(make("label", {}, "Cut", slider, said), this.markButton(spare, "Mark all but the first of each")), ...groups, state.total > 60 ? make("p", { className: "soft", textContent: `The closest 60 of ${grouped(state.total)} groups are shown${state.total > state.groups.length ? `; the button marks in the closest ${state.groups.length}` : ""}.` }) : null];
  }

  async doubts() {
    const state = await this.app.source.doubts();
    if (!state.ready) return this.waiting(state, "doubts");
    const shown = state.items.slice(0, 100), rows = await this.app.source.rows(shown.map((one) => one.row));
    const cards = shown.map((one, i) => {
      const button = this.button("", () => { this.keepScroll = true; this.app.pick(one.row, true); }, { className: `doubt${one.row === this.app.selected ? " now" : ""}` });
      button.append(this.app.source.picture(one.row), make("span", {}, make("s", { textContent: one.given }), " → ", make("b", { textContent: one.suggested })), make("small", { textContent: `${Math.round(100 * one.share)}% of the neighbours' votes, ${Math.round(100 * one.own)}% for its own` }), make("span", { className: "name", textContent: rows[i].id }));
      return button;
    });
    const title = state.total ? `${grouped(state.total)} doubtful labels` : "No doubtful labels";
    return [make("h2", { textContent: title }), make("p", { className: "soft", textContent: "The nearest neighbours of these items vote for another label; near ones and rare labels count more. The surest come first." }), this.bar(this.markButton(shown.map((one) => one.row), `Mark these ${shown.length}`)), ...cards];
  }
}
