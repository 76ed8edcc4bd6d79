// ---- cloud: a million points on a canvas, pixel by pixel; moving, zooming, finding ---------------------------------
class Cloud {
  // Points are kept in a random order, so that any first part of them is a fair sample: while something moves only as
  // many are drawn as fit into a frame, and all of them as soon as it rests.
  constructor(canvas, xy) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d", { alpha: false });
    const n = this.n = xy.length / 2;
    this.row = Cloud.shuffled(n);
    this.at = new Int32Array(n);
    this.x = new Float32Array(n);
    this.y = new Float32Array(n);
    this.place = new Uint16Array(n).fill(2);
    this.chosen = null;
    this.table = new Uint32Array([0, 0, 0xff808080]);
    this.normalise(xy);
    this.index();
    this.view = { scale: 1, left: 0, top: 0 };
    this.fitted = 1;
    this.width = this.height = 0;
    this.dense = 1;
    this.cost = 0;
    this.insets = [54, 28, 46, 28];
  }

  static shuffled(n) {
    const order = new Int32Array(n);
    let state = 0x9e3779b9;
    for (let i = 0; i < n; i++) order[i] = i;
    for (let i = n - 1; i > 0; i--) {
      state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
      const j = (state >>> 0) % (i + 1), kept = order[i];
      order[i] = order[j];
      order[j] = kept;
    }
    return order;
  }

  normalise(xy) {
    const n = this.n;
    let left = Infinity, right = -Infinity, low = Infinity, high = -Infinity;
    for (let i = 0; i < n; i++) {
      const a = xy[i], b = xy[n + i];
      if (a < left) left = a; if (a > right) right = a;
      if (b < low) low = b; if (b > high) high = b;
    }
    const reach = Math.max(right - left, high - low) || 1;
    this.right = (right - left) / reach || 1e-6;
    this.up = (high - low) / reach || 1e-6;
    for (let k = 0; k < n; k++) {
      const row = this.row[k];
      this.at[row] = k;
      this.x[k] = (xy[row] - left) / reach;
      this.y[k] = (high - xy[n + row]) / reach;
    }
  }

  // A grid over the points, for finding those near a place without looking at all.
  index() {
    const side = this.side = Math.max(1, Math.min(512, Math.round(Math.sqrt(this.n / 4)))), cells = side * side;
    const start = this.start = new Int32Array(cells + 1), cell = new Int32Array(this.n);
    for (let k = 0; k < this.n; k++) {
      const c = this.cellOf(this.x[k]) + side * this.cellOf(this.y[k]);
      cell[k] = c;
      start[c + 1]++;
    }
    for (let c = 0; c < cells; c++) start[c + 1] += start[c];
    const next = start.slice(0, cells);
    this.inside = new Int32Array(this.n);
    for (let k = 0; k < this.n; k++) this.inside[next[cell[k]]++] = k;
  }

  cellOf(value) { return Math.max(0, Math.min(this.side - 1, Math.floor(value * this.side))); }

  // Calls back with every k whose cell touches the box (in the points' own units).
  within(left, top, right, bottom, found) {
    const fromX = this.cellOf(left), toX = this.cellOf(right), toY = this.cellOf(bottom);
    for (let cy = this.cellOf(top); cy <= toY; cy++) {
      const end = this.start[cy * this.side + toX + 1];
      for (let j = this.start[cy * this.side + fromX]; j < end; j++) found(this.inside[j]);
    }
  }

  colour(places, table) {
    if (places) for (let k = 0; k < this.n; k++) this.place[k] = places[this.row[k]];
    this.table = table;
  }

  // `rows`: a Uint8Array with 1 where a row is chosen, or null.
  choose(rows) {
    if (!rows) { this.chosen = null; return; }
    this.chosen = new Uint8Array(this.n);
    for (let k = 0; k < this.n; k++) this.chosen[k] = rows[this.row[k]];
  }

  shown(k) { return this.table[this.place[k]] !== 0; }
  px(k) { return this.x[k] * this.view.scale + this.view.left; }
  py(k) { return this.y[k] * this.view.scale + this.view.top; }

  resize() {
    const box = this.canvas.getBoundingClientRect(), first = this.width === 0, whole = this.isFitted;
    if (!box.width || !box.height) return;
    this.width = box.width; this.height = box.height;
    this.dense = Math.min(window.devicePixelRatio || 1, 2);
    this.canvas.width = Math.round(box.width * this.dense);
    this.canvas.height = Math.round(box.height * this.dense);
    this.image = this.pen.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    if (first || whole) this.fit();
  }

  fit() {
    const [top, right, bottom, left] = this.insets, w = this.width - left - right, h = this.height - top - bottom;
    this.fitted = Math.max(1, Math.min(w / this.right, h / this.up));
    this.view = { scale: this.fitted, left: left + (w - this.right * this.fitted) / 2, top: top + (h - this.up * this.fitted) / 2 };
    this.isFitted = true;
  }

  move(dx, dy) { this.view.left += dx; this.view.top += dy; this.isFitted = false; }

  zoom(factor, atX = this.width / 2, atY = this.height / 2) {
    const scale = Math.max(this.fitted * 0.5, Math.min(this.fitted * 2000, this.view.scale * factor)), real = scale / this.view.scale;
    this.view = { scale, left: atX - (atX - this.view.left) * real, top: atY - (atY - this.view.top) * real };
    this.isFitted = false;
  }

  radius() {
    const crowd = Math.sqrt((this.fitted * this.fitted * this.right * this.up) / this.n) * 0.32;
    return Math.max(0.5, Math.min(crowd, 4.2) * Math.sqrt(Math.max(1, this.view.scale / this.fitted)));
  }

  // Draws; `budget` in milliseconds, 0 = everything. Returns whether everything was drawn.
  draw(paper, budget = 0) {
    if (!this.pixels) return true;
    const begun = performance.now();
    const many = budget && this.cost > 0 ? Math.min(this.n, Math.max(20_000, Math.floor(budget / this.cost))) : this.n;
    const ground = Palette.packed(paper);
    this.pixels.fill(ground);
    const stamp = this.stamp(Math.min(7, this.radius()) * this.dense);
    if (this.chosen) {
      this.pass(many, stamp, this.dimmed(ground), 0);
      this.pass(many, stamp, this.table, 1);
    } else this.pass(many, stamp, this.table, -1);
    this.pen.putImageData(this.image, 0, 0);
    const took = performance.now() - begun;
    if (many > 2000) this.cost = took / many;
    return many >= this.n;
  }

  dimmed(ground) {
    return this.table.map((colour) => {
      if (!colour) return 0;
      let mixed = 0xff000000;
      for (const shift of [0, 8, 16]) mixed |= Math.round(((colour >>> shift) & 255) * 0.2 + ((ground >>> shift) & 255) * 0.8) << shift;
      return mixed >>> 0;
    });
  }

  // The pixels of one point: where, from its middle, and how much of each (of 256) it covers.
  stamp(radius) {
    const width = this.canvas.width, reach = Math.ceil(radius + 0.5), offsets = [], shares = [];
    for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) {
      const share = radius < 0.75 ? (dx === 0 && dy === 0 ? Math.min(1, radius * 1.5) : 0) : Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(dx, dy)));
      if (share > 0.04) { offsets.push(dy * width + dx); shares.push(Math.round(share * (this.n > 3000 ? 215 : 236))); }
    }
    return { reach, offsets: Int32Array.from(offsets), shares: Int32Array.from(shares) };
  }

  pass(many, { reach, offsets, shares }, table, wanted) {
    const { x, y, place, chosen, pixels, dense } = this, width = this.canvas.width, height = this.canvas.height, size = offsets.length;
    const scale = this.view.scale * dense, left = this.view.left * dense, top = this.view.top * dense;
    const lastX = width - reach, lastY = height - reach;
    const put = (k) => {
      if (wanted >= 0 && chosen[k] !== wanted) return;
      const colour = table[place[k]];
      if (colour === 0) return;
      const cx = (x[k] * scale + left) | 0, cy = (y[k] * scale + top) | 0;
      if (cx < reach || cy < reach || cx >= lastX || cy >= lastY) return;
      const middle = cy * width + cx, redBlue = colour & 0xff00ff, green = colour & 0xff00;
      for (let j = 0; j < size; j++) {
        const o = middle + offsets[j], old = pixels[o], share = shares[j], rest = 256 - share;
        pixels[o] = 0xff000000 | ((((redBlue * share + (old & 0xff00ff) * rest) / 256) & 0xff00ff)) | (((green * share + (old & 0xff00) * rest) >>> 8) & 0xff00);
      }
    };
    const box = this.box();
    if ((box[2] - box[0]) * (box[3] - box[1]) < 0.3 * this.right * this.up && many === this.n) this.within(...box, put);
    else for (let k = 0; k < many; k++) put(k);
  }

  // What of the plane is in sight, in the points' own units.
  box() {
    const { scale, left, top } = this.view;
    return [-left / scale, -top / scale, (this.width - left) / scale, (this.height - top) / scale];
  }

  closest(atX, atY, reach) {
    const { scale, left, top } = this.view;
    let best = -1, least = reach * reach;
    this.within((atX - reach - left) / scale, (atY - reach - top) / scale, (atX + reach - left) / scale, (atY + reach - top) / scale, (k) => {
      const square = (this.px(k) - atX) ** 2 + (this.py(k) - atY) ** 2;
      if (square < least && this.shown(k)) { least = square; best = k; }
    });
    return best < 0 ? -1 : this.row[best];
  }

  // The nearest visible point within 45 degrees of a direction.
  toward(row, dx, dy) {
    const from = this.at[row], x = this.px(from), y = this.py(from);
    let best = -1, least = Infinity;
    for (let reach = 60; best < 0 && reach < 1e5; reach *= 4) {
      const { scale, left, top } = this.view;
      this.within((x - reach - left) / scale, (y - reach - top) / scale, (x + reach - left) / scale, (y + reach - top) / scale, (k) => {
        if (k === from || !this.shown(k)) return;
        const across = this.px(k) - x, down = this.py(k) - y, along = across * dx + down * dy, aside = Math.abs(across * dy) + Math.abs(down * dx);
        if (along <= 0 || aside > along || along + aside >= least) return;
        least = along + aside;
        best = k;
      });
    }
    return best < 0 ? -1 : this.row[best];
  }

  // All visible rows inside a polygon of canvas points [[x, y], ...].
  inPolygon(corners) {
    const { scale, left, top } = this.view, points = corners.map(([x, y]) => [(x - left) / scale, (y - top) / scale]);
    const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]), rows = [];
    this.within(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), (k) => {
      const x = this.x[k], y = this.y[k];
      let odd = false;
      for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
        const [xi, yi] = points[i], [xj, yj] = points[j];
        if ((yi > y) !== (yj > y) && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
      }
      if (odd && this.shown(k)) rows.push(this.row[k]);
    });
    return rows.sort((a, b) => a - b);
  }

  inSight() {
    return this.inPolygon([[0, 0], [this.width, 0], [this.width, this.height], [0, this.height]]);
  }

  // The median place of each of the first so many classes, of a sample of the points.
  middles(classes) {
    const found = Array.from({ length: classes }, () => [[], []]);
    for (let k = 0; k < Math.min(this.n, 60_000); k++) {
      const code = this.place[k] - 2;
      if (code >= 0 && code < classes) { found[code][0].push(this.x[k]); found[code][1].push(this.y[k]); }
    }
    const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
    return found.map(([xs, ys], code) => ({ code, count: xs.length, x: median(xs), y: median(ys) })).filter((one) => one.count).sort((a, b) => b.count - a.count);
  }
}
