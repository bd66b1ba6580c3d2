// Makes transactions of the fake database fail.
import FDBObjectStore from "fake-indexeddb/lib/FDBObjectStore";
import FakeTransaction from "fake-indexeddb/lib/FDBTransaction";

let failure;
const { put, add } = FDBObjectStore.prototype;
const abort = FakeTransaction.prototype.abort;

function failing(write) {
  return function (...values) {
    const request = write.apply(this, values);
    if (failure && failure.steps-- <= 0) {
      const { error } = failure;
      const { transaction } = this;
      queueMicrotask(() => {
        try {
          transaction._abort ? transaction._abort(error) : abort.call(transaction);
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

export const FDBTransaction = {
  /** Aborts the transactions of writes after the next `steps` ones, with this error. Gives the way out. */
  failWith(error, steps = 0) {
    failure = { error, steps };
    return () => {
      failure = undefined;
    };
  },
};
