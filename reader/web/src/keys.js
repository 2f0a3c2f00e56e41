/** The keys that work anywhere on a page. */

/** `/` goes to the page's search. */
export function focusSearch() {
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof HTMLElement && event.target.matches("input, select, textarea, [contenteditable]")) return;
    const search = document.querySelector("[data-search]");
    if (!(search instanceof HTMLInputElement)) return;
    event.preventDefault();
    search.focus();
    search.scrollIntoView({ block: "nearest" });
    search.select();
  });
}
