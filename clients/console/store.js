/** The one place where the page's state lies; views are told at most once a frame, however much arrives. */

/** reduce(state, action) → state is pure. subscribe(listener(state)) is called in batches. */
export function createStore(reduce, initial) {
  const listeners = new Set();
  let state = initial;
  let waiting = false;

  function flush() {
    waiting = false;
    for (const listener of listeners) listener(state);
  }

  // A hidden page gets no animation frames, yet its title should still say that there is an alert.
  const soon = () => (document.hidden ? setTimeout(flush, 500) : requestAnimationFrame(flush));

  document.addEventListener("visibilitychange", () => {
    if (waiting && !document.hidden) flush();
  });

  return {
    get state() {
      return state;
    },
    dispatch(action) {
      const next = reduce(state, action);
      if (next === state) return;
      state = next;
      if (waiting) return;
      waiting = true;
      soon();
    },
    subscribe(listener) {
      listeners.add(listener);
      listener(state);
    },
  };
}
