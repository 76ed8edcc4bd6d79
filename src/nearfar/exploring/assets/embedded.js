// ---- embedded: the data of the page, standing in the page itself ---------------------------------------------------
class Embedded {
  async start() {
    this.data = JSON.parse($("data").textContent);
    this.meta = this.data.meta;
    this.sheets = this.data.sheets.map((uri) => make("img", { src: uri }));
  }

  numbers(text, Kind) {
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return new Kind(bytes.buffer);
  }

  async map(which) { return this.numbers(this.data.maps[which], Float32Array); }

  async column(which) {
    return this.numbers(this.data.columns[which], this.meta.columns[which].kind === "number" ? Float32Array : Int16Array);
  }

  one(row) {
    const values = {};
    for (const [name, column] of Object.entries(this.data.values)) if (column[row] !== null) values[name] = column[row];
    return { row, id: this.data.ids[row], values };
  }

  async rows(wanted) { return wanted.map((row) => this.one(row)); }

  picture(row) {
    const box = make("div", { className: "picture" });
    if (!this.sheets.length) {
      const id = this.data.ids[row];
      box.append(make("span", { textContent: id.length > 60 ? `${id.slice(0, 57)}…` : id }));
      return box;
    }
    const { edge, side } = this.data, made = make("canvas", { width: edge, height: edge }), at = row % side ** 2;
    const sheet = this.sheets[Math.floor(row / side ** 2)];
    if (edge <= 48) made.classList.add("tiny");
    const draw = () => made.getContext("2d").drawImage(sheet, (at % side) * edge, Math.floor(at / side) * edge, edge, edge, 0, 0, edge, edge);
    if (sheet.complete) draw(); else sheet.addEventListener("load", draw);
    box.append(made);
    return box;
  }

  content() { return null; }

  async neighbours(row, k, which) {
    const near = (this.near ||= this.data.near.map((one) => ({ rows: this.numbers(one.rows, Int32Array), distances: this.numbers(one.distances, Float32Array) })))[which], width = this.data.k;
    return Array.from({ length: Math.min(k, width) }, (_, j) => ({ row: near.rows[row * width + j], distance: near.distances[row * width + j] })).filter((hit) => hit.row >= 0);
  }

  async find(text) {
    const wanted = text.toLowerCase(), exact = this.data.ids.indexOf(text), found = exact >= 0 ? [exact] : [];
    for (let row = 0; row < this.data.ids.length && found.length < 60; row++)
      if (row !== exact && this.data.ids[row].toLowerCase().includes(wanted)) found.push(row);
    return found;
  }

  // Groups of items joined by pairs not farther apart than the cut, the closest first.
  async duplicates(cut) {
    const { pairs, cut: usual, most } = this.data.duplicates, limit = cut === null ? usual : cut, parent = new Map(), least = new Map();
    const root = (row) => { while (parent.get(row) !== row) row = parent.get(row); return row; };
    for (const [a, b, distance] of pairs) {
      if (distance > limit) break;
      for (const row of [a, b]) if (!parent.has(row)) parent.set(row, row);
      const from = root(a), to = root(b), low = Math.min(from, to), high = Math.max(from, to);
      parent.set(high, low);
      least.set(low, Math.min(least.get(from) ?? distance, least.get(to) ?? distance, distance));
    }
    const groups = new Map();
    for (const row of [...parent.keys()].sort((x, y) => x - y)) groups.set(root(row), [...(groups.get(root(row)) || []), row]);
    const sorted = [...groups.entries()].map(([first, rows]) => ({ rows, distance: least.get(first) })).sort((x, y) => x.distance - y.distance || x.rows[0] - y.rows[0]);
    return { ready: true, cut: limit, most, items: sorted.reduce((sum, one) => sum + one.rows.length, 0), total: sorted.length, groups: sorted.slice(0, 200) };
  }

  async doubts() { return this.data.doubts; }

  async csv(rows) {
    const names = Object.keys(this.data.values);
    const lines = rows.map((row) => [this.data.ids[row], ...names.map((name) => this.data.values[name][row])]);
    return [["id", ...names], ...lines].map((line) => line.map(csvCell).join(",")).join("\r\n") + "\r\n";
  }
}
