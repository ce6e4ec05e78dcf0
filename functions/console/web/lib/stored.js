import { ApiError, api } from "./api.js";

/**
 * A record as the server has it. Changes are guarded by its version: where somebody else was faster, `merge` is given
 * what was there before and what is there now, to put both into the form, and the operator is told.
 */
export class Stored {
  #kind;
  #version;

  constructor(kind, { value, etag }) {
    this.#kind = kind;
    this.value = value;
    this.#version = etag;
  }

  /** @throws {ApiError} */
  async change(body, merge) {
    try {
      this.#take(await api.change(this.#kind, this.value.id, body, this.#version));
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 409) throw error;
      const current = await api.get(this.#kind, this.value.id);
      // It is another conflict.
      if (current.etag === this.#version) throw error;
      const before = this.value;
      this.#take(current);
      merge(before, this.value);
      throw new ApiError(
        409,
        "Somebody changed this meanwhile. The form now shows the current values with your changes in them: look at them and save again.",
      );
    }
  }

  #take({ value, etag }) {
    this.value = value;
    this.#version = etag;
  }
}

/** A text that both may have changed: ours, if we have. */
export const mergeText = (before, ours, theirs) => (ours === before ? theirs : ours);

/** A list that both may have changed: theirs, without what we took away, and with what we added. */
export const mergeList = (before, ours, theirs) => [
  ...theirs.filter((one) => ours.includes(one) || !before.includes(one)),
  ...ours.filter((one) => !before.includes(one) && !theirs.includes(one)),
];
