"use strict";
// Without it the page says the same; it only finds names.
for (const input of document.querySelectorAll("input[data-finds]")) {
  input.hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of document.querySelectorAll(input.dataset.finds)) {
      row.hidden = wanted !== "" && !row.dataset.name.toLowerCase().includes(wanted);
    }
  });
}
