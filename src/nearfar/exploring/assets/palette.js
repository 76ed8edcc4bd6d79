// ---- palette: from values to colours, as CSS text and as the numbers that pixels are -------------------------------
const Palette = {
  theme: {},
  series: [],

  read() {
    const style = getComputedStyle(document.documentElement), value = (name) => style.getPropertyValue(name).trim();
    for (const name of ["ink", "soft", "grid", "paper", "accent"]) this.theme[name] = value(`--${name}`);
    const base = Array.from({ length: 10 }, (_, i) => value(`--c${i}`));
    // Ten more that lie between the first ten and the ink, for data of many classes.
    this.series = [...base, ...base.map((colour) => this.mix(colour, this.theme.ink, 0.45))];
    this.none = this.mix(this.theme.soft, this.theme.paper, 0.45);
  },

  rgb(hex) { return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)); },
  hex(rgb) { return `#${rgb.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`; },
  mix(a, b, share) { const x = this.rgb(a), y = this.rgb(b); return this.hex(x.map((part, i) => part * (1 - share) + y[i] * share)); },
  packed(hex) { const [r, g, b] = this.rgb(hex); return (0xff000000 | (b << 16) | (g << 8) | r) >>> 0; },

  ofClass(code) { return code < 0 ? this.none : this.series[code % this.series.length]; },

  // A sequence that gets lighter (in the dark: darker) evenly, after viridis's hues.
  stops: ["#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"],
  ofShare(share) {
    const at = Math.max(0, Math.min(1, share)) * (this.stops.length - 1), low = Math.min(Math.floor(at), this.stops.length - 2);
    return this.mix(this.stops[low], this.stops[low + 1], at - low);
  },

  // The table that the map looks colours up in: entry 0 is "hidden".
  table(column, hidden) {
    if (column.kind === "number") {
      const table = new Uint32Array(258);
      table[1] = this.packed(this.none);
      for (let i = 0; i < 256; i++) table[i + 2] = this.packed(this.ofShare(i / 255));
      return table;
    }
    const table = new Uint32Array(column.names.length + 2);
    for (let code = -1; code < column.names.length; code++) table[code + 2] = hidden.has(code) ? 0 : this.packed(this.ofClass(code));
    return table;
  },

  // Each point's place in that table.
  places(column, values) {
    const places = new Uint16Array(values.length);
    if (column.kind === "number") {
      const reach = (column.most - column.least) || 1;
      for (let i = 0; i < values.length; i++) places[i] = Number.isNaN(values[i]) ? 1 : 2 + Math.round(Math.max(0, Math.min(1, (values[i] - column.least) / reach)) * 255);
    } else for (let i = 0; i < values.length; i++) places[i] = values[i] + 2;
    return places;
  },
};
