// Makes transactions of the fake database fail.
import FDBObjectStore from "fake-indexeddb/lib/FDBObjectStore";

let failure;
const { put, add } = FDBObjectStore.prototype;

function failing(write) {
  return function (...values) {
    const request = write.apply(this, values);
    if (failure && failure.steps-- <= 0) {
      failure.hasStruck = true;
      const { error } = failure;
      const { transaction } = this;
      queueMicrotask(() => {
        try {
          transaction._abort(error.name);
        } catch {
          // It has ended already.
        }
      });
    }
    return request;
  };
}
FDBObjectStore.prototype.put = failing(put);
FDBObjectStore.prototype.add = failing(add);

export const writes = {
  /**
   * Aborts the transactions of writes after the next `steps` ones, with this error. Gives the way out, which tells whether
   * one was aborted. */
  failWith(error, steps = 0) {
    const own = { error, steps, hasStruck: false };
    failure = own;
    return () => {
      failure = undefined;
      return own.hasStruck;
    };
  },
};
