/** Repeats an action for as long as the page is looked at: not while it is hidden or paused, never twice at once. */

const SECONDS = 15;
const SHARE = 0.1; // of the time, at most, that refreshing may take: what takes long is done less often

export class Refresh extends EventTarget {
  /** @param {() => Promise<void>} action */
  constructor(action) {
    super();
    this.action = action;
    this.paused = false;
    this.busy = false;
    /** Milliseconds since 1970. */
    this.updated = NaN;
    document.addEventListener("visibilitychange", () => this.wake());
    addEventListener("online", () => void this.now());
  }

  /** Starts over with another view: what the former one asked for is of no more interest. */
  async now() {
    clearTimeout(this.timer);
    const turn = (this.turn = {});
    this.busy = true;
    this.dispatchEvent(new Event("change"));
    const started = performance.now();
    await this.action();
    if (turn !== this.turn) return;
    this.took = performance.now() - started;
    this.busy = false;
    this.plan();
    this.dispatchEvent(new Event("change"));
  }

  plan() {
    clearTimeout(this.timer);
    if (this.paused || document.hidden) return;
    this.timer = setTimeout(() => void this.now(), Math.max(SECONDS * 1000, (this.took ?? 0) / SHARE));
  }

  wake() {
    if (document.hidden) clearTimeout(this.timer);
    else if (!this.paused && !this.busy) void this.now();
  }

  toggle() {
    this.paused = !this.paused;
    this.dispatchEvent(new Event("change"));
    if (this.paused) clearTimeout(this.timer);
    else void this.now();
  }
}
