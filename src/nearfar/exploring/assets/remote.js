// ---- remote: the data of the page, asked from the service --------------------------------------------------------
class Remote {
  constructor() {
    this.kept = new Map();
    try { this.key = sessionStorage.getItem("nearfar key") || ""; } catch { this.key = ""; }
  }

  async ask(path, options = {}) {
    const headers = { ...(options.headers || {}), ...(this.key ? { "X-API-Key": this.key } : {}) };
    const reply = await fetch(`/explore/${path}`, { ...options, headers });
    if (reply.status === 401) {
      const key = prompt("This service asks for its API key:");
      if (key === null) throw new Error("no API key");
      this.key = key.trim();
      try { sessionStorage.setItem("nearfar key", this.key); } catch { /* asked again next time */ }
      return this.ask(path, options);
    }
    if (!reply.ok) throw new Error((await reply.json().catch(() => ({ error: `status ${reply.status}` }))).error);
    return reply;
  }

  async post(path, body) {
    return (await this.ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).json();
  }

  async start() { this.meta = await (await this.ask("data")).json(); }

  async map(which) { return new Float32Array(await (await this.ask(`map/${which}`)).arrayBuffer()); }

  async column(which) {
    const buffer = await (await this.ask(`column/${which}`)).arrayBuffer();
    return this.meta.columns[which].kind === "number" ? new Float32Array(buffer) : new Int16Array(buffer);
  }

  // Answers {id, values} of rows; those asked for before are remembered.
  async rows(wanted) {
    const missing = wanted.filter((row) => !this.kept.has(row));
    for (let at = 0; at < missing.length; at += 1000)
      for (const one of (await this.post("rows", { rows: missing.slice(at, at + 1000) })).rows) this.kept.set(one.row, one);
    const found = wanted.map((row) => this.kept.get(row));
    if (this.kept.size > 50_000) this.kept.clear();
    return found;
  }

  picture(row) {
    const box = make("div", { className: "picture" });
    if (!this.meta.pictures) { this.words(box, row); return box; }
    const image = make("img", { alt: "", loading: "lazy", decoding: "async" });
    image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth <= 48));
    image.addEventListener("error", () => { image.remove(); this.words(box, row); });
    this.fill(image, `thumbnail/${row}`);
    box.append(image);
    return box;
  }

  async words(box, row) {
    const [one] = await this.rows([row]);
    box.append(make("span", { textContent: one.id.length > 60 ? `${one.id.slice(0, 57)}…` : one.id }));
  }

  fill(element, path) {
    if (!this.key) { element.src = `/explore/${path}`; return; }
    this.ask(path).then((reply) => reply.blob()).then((blob) => { element.src = URL.createObjectURL(blob); }, () => element.dispatchEvent(new Event("error")));
  }

  content(row) {
    if (this.meta.media === "audio") {
      const player = make("audio", { controls: true, preload: "none" });
      this.fill(player, `content/${row}`);
      return player;
    }
    return null;
  }

  async neighbours(row, k, which) { return (await this.post("neighbours", { row, k, map: which })).hits; }
  async find(text) { return (await this.post("find", { text })).rows; }
  async askText(text, k) { return (await this.post("text", { text, k })).hits; }
  async upload(file, k) {
    return (await (await this.ask(`upload?k=${k}`, { method: "POST", headers: { "Content-Type": file.type || "application/octet-stream" }, body: file })).json()).hits;
  }
  async duplicates(cut) { return (await this.ask(`duplicates${cut === null ? "" : `?cut=${cut}`}`)).json(); }
  async doubts() { return (await this.ask("doubts")).json(); }
  async csv(rows) { return (await this.ask("csv", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ rows }) })).text(); }
}
