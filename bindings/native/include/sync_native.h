/*
 * Offline-first documents in C: local state and outbox in SQLite, sync with a hub over WebSocket.
 *
 * Made by `cargo xtask header` of the crate `sync-native`; a test holds it to that.
 *
 * A client is opened on a data directory, which belongs to one client at a time. Everything works without
 * a network: what is read comes from the file, and what is changed is accepted at once, is on this disk a
 * moment later, and on the hub's disk when there is a line to it. `sync_wait_disk` and `sync_wait_hub` say
 * when, and never early.
 *
 * Results. Every function that can fail gives a `sync_code`, and puts its result where the last pointers
 * say. They hold null, 0 or false where a call failed. `sync_error_message` says in a sentence what is wrong
 * and what to do. "Errors: A, B" means SYNC_CODE_A and SYNC_CODE_B; beside these every function may give
 * PANICKED, and in later versions codes that this header does not know.
 *
 * Handles. They are found in a table and never followed, so one that is null, was closed, is of another
 * kind, or was never given gives CLOSED. No handle is given twice. A process may have 4,096 of them open.
 * Closing a client closes its documents, those of the past, and subscriptions.
 *
 * Texts that are given are UTF-8, end with a zero byte, have at most 1 MiB, and stay the caller's: nothing
 * keeps a pointer to one after the call. Null, bytes that are not UTF-8, and longer texts give MISUSE. A text
 * that a `char **` gets is the caller's, to be given back by `sync_string_free`. All pointers but handles
 * must be null, where that is allowed, or lead to what their type says.
 *
 * Threads. Every function may be called from any thread. Only those called `wait`, `sync_next_event`,
 * `sync_open`, `sync_close`, those that say that their time grows with something, and what closes a
 * subscription with a listener block for long; and a change waits while 1,024 others have not reached the disk. After `fork` only the parent may call this library.
 *
 * `change` is where a function puts the number of the change it made, for `sync_wait_disk`, `sync_wait_hub`
 * and `sync_is_safe`: 1 and so on for each handle of a document, and 0 within a batch, whose number
 * `sync_commit` gives. It may be null. A handle remembers its last 16,384 changes.
 *
 * Values are JSON: null, true, false, numbers, texts, lists, and objects, which are replaced as a whole.
 * A number without fraction and exponent is a whole one of 64 bits signed, any other one is floating-point.
 * What JSON has no form for is an object with one key:
 *     {"$bytes": "AAEC/w=="}   bytes, in base64 (RFC 4648, section 4, with padding)
 *     {"$float": "NaN"}        also "Infinity", "-Infinity", and numbers of 2^63 and more, such as 1e300
 *     {"$object": {"$x": 1}}   an object whose only key begins with a dollar sign
 * Fields of records are values, which are registers: concurrent writes are all kept, and one is shown. Or
 * they are one of:
 *     {"$latest": value}       a register of which the last write wins
 *     {"$set": [value, ...]}   a set, which merges member by member
 *     {"$counter": 3}          a counter: concurrent changes add up
 *     {"$map": {name: field}}  a map, of which each field merges on its own
 * What is read has the same form. Of a key that stands twice in an object the last one counts.
 *
 * The static library has SQLite in it. A program that links another SQLite links the shared library.
 */

#ifndef SYNC_NATIVE_H
#define SYNC_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * How many bytes there are for a token, with the zero at its end. Arbitrary: far more than tokens have.
 */
#define SYNC_TOKEN_BYTES_MAX (16 * 1024)

/**
 * The most items that one call lists.
 */
#define SYNC_LIST_MAX 1000

/**
 * What a call came to. Where it is not `SYNC_CODE_OK`, `sync_error_message()` says what is wrong and
 * what to do.
 */
typedef enum {
    /**
     * It is done.
     */
    SYNC_CODE_OK = 0,
    /**
     * The arguments cannot be used: null where something must be, text that is not UTF-8 or too long, a
     * bad name, a number out of range, or a call at the wrong time. Nothing was changed.
     */
    SYNC_CODE_MISUSE = 1,
    /**
     * A text is not JSON, or not the JSON that is expected there. Nothing was changed.
     */
    SYNC_CODE_JSON = 2,
    /**
     * There is no such document, record, version, item or checkpoint, or a record of that id is there
     * already. Nothing was changed.
     */
    SYNC_CODE_NOT_FOUND = 3,
    /**
     * The handle was closed, or is none, or of another kind; or the client was shut down.
     */
    SYNC_CODE_CLOSED = 4,
    /**
     * Another thread waits on this handle; or the item is on its way to the hub.
     */
    SYNC_CODE_BUSY = 5,
    /**
     * The time is over. What was waited for may still come about.
     */
    SYNC_CODE_TIMED_OUT = 6,
    /**
     * No connection, and no attempt to connect is to be expected.
     */
    SYNC_CODE_OFFLINE = 7,
    /**
     * The hub refused the change. It is kept here, and listed in the outbox.
     */
    SYNC_CODE_PARKED = 8,
    /**
     * What is asked for is no longer kept as a whole, by the limits of the feed or of the tape.
     */
    SYNC_CODE_GONE = 9,
    /**
     * The data directory, or what is in it, cannot be opened.
     */
    SYNC_CODE_OPEN = 16,
    /**
     * The data directory is open in another client, of this or another program.
     */
    SYNC_CODE_IN_USE = 17,
    /**
     * The data directory may not be written.
     */
    SYNC_CODE_NOT_WRITABLE = 18,
    /**
     * The file in the data directory is no database, or one of another application. It is untouched.
     */
    SYNC_CODE_FOREIGN = 19,
    /**
     * The file in the data directory, or one that was named, comes from a later version. It is untouched.
     */
    SYNC_CODE_NEWER = 20,
    /**
     * The file in the data directory, or one that was named, is damaged.
     */
    SYNC_CODE_DAMAGED = 21,
    /**
     * The disk is full.
     */
    SYNC_CODE_DISK_FULL = 22,
    /**
     * The address of the hub is none.
     */
    SYNC_CODE_ADDRESS = 23,
    /**
     * There is a file already where one would be made.
     */
    SYNC_CODE_EXISTS = 24,
    /**
     * A file or folder that was named cannot be read or written.
     */
    SYNC_CODE_FILE = 25,
    /**
     * The local store failed. What is on disk is safe; nothing more is written until the client is
     * opened again.
     */
    SYNC_CODE_STORE = 32,
    /**
     * Something could not be read from the local store.
     */
    SYNC_CODE_READ = 33,
    /**
     * The system gave no thread, no random bytes, or no memory.
     */
    SYNC_CODE_SYSTEM = 34,
    /**
     * A fault of this library. Nothing is known of what the call did; open the client again.
     */
    SYNC_CODE_PANICKED = 64,
    /**
     * Something that this version of the header has no name for.
     */
    SYNC_CODE_OTHER = 65,
} sync_code;

/**
 * A handle: how a client is to be opened.
 */
typedef struct sync_builder sync_builder;

/**
 * A handle: an open data directory, with its line to a hub.
 */
typedef struct sync_client sync_client;

/**
 * A handle: an open document, for reading and changing it. It holds what `sync_begin` began, and
 * remembers the last changes that were made through it.
 */
typedef struct sync_document sync_document;

/**
 * A handle: a subscription to what happens in a client.
 */
typedef struct sync_events sync_events;

/**
 * A handle: a document as it was at a checkpoint, in memory.
 */
typedef struct sync_past sync_past;

/**
 * A function that gives a token: it writes one that ends with a zero into `token`, which has room for
 * `SYNC_TOKEN_BYTES_MAX` bytes, and says whether it did. It runs on a thread of the library and may block.
 * It may call this library, but must not close its own client. It must return: it may neither end its
 * thread nor jump out.
 */
typedef bool (*sync_token_source)(void *user, char *token);

/**
 * A function that is told of events, one after the other, on a thread of the library. `event` is JSON as
 * `sync_next_event` gives it; it belongs to the library and stays until the function returns. The
 * function may call this library. It must return: it may neither end its thread nor jump out.
 */
typedef void (*sync_listener)(void *user, const char *event);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Says what was wrong with the last call on this thread that failed, and what to do: one line of UTF-8,
 * empty where none has failed. Never null.
 *
 * The text belongs to the library. It stays until the next call on this thread that fails, or until the
 * thread ends.
 */
const char *sync_error_message(void);

/**
 * Gives back a text that this library gave. Null does nothing. To give one back twice, or one from
 * elsewhere, is a fault, as with `free`.
 */
void sync_string_free(char *text);

/**
 * The version of this library, such as `0.1.0`. The text belongs to the library and stays for ever.
 */
const char *sync_version(void);

/**
 * Prepares to open a data directory. Nothing is opened or made before `sync_open`.
 *
 * `directory` is a path in UTF-8. The builder that `builder` gets is the caller's, to be closed by
 * `sync_builder_close`.
 *
 * Errors: `MISUSE`.
 */
sync_code sync_builder_new(const char *directory, sync_builder **builder);

/**
 * Opens this document too. At least one has to be named; a client sees no others. A name is 1 to 128
 * bytes without control characters, and `sync_open` looks at it.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_builder_document(sync_builder *builder,
                                const char *name);

/**
 * Names the hub: `http://HOST:PORT`, `https://`, `ws://` or `wss://`, with or without a path. Without a
 * hub everything works, and waits in the outbox. `sync_open` looks at the address.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_builder_hub(sync_builder *builder,
                           const char *address);

/**
 * Says who this is, where the hub asks for it.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_builder_token(sync_builder *builder, const char *token);

/**
 * Says where a token comes from, where the hub asks who this is: a function that is called, with `user`
 * handed through, before each attempt to connect, so also once the hub has said that a token was not
 * accepted or has ended. Where it gives none, or the one that was refused, or takes more than a minute, it
 * is asked again after a while. It may be called from now until the last client that this builder opened
 * is closed; `sync_close` waits for it to return.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_builder_token_source(sync_builder *builder,
                                    sync_token_source source,
                                    void *user);

/**
 * Limits the checkpoints and the tape of each document, in bytes and in milliseconds of age; what is older
 * goes, and then the oldest until the rest fits. 0 stands for the default: 256 MiB of checkpoints and 64 MiB
 * of tape, a year each. Without a checkpoint nothing is kept.
 *
 * Errors: `CLOSED`.
 */
sync_code sync_builder_keep_checkpoints(sync_builder *builder,
                                        uint64_t checkpoint_bytes_max,
                                        uint64_t checkpoint_age_ms_max,
                                        uint64_t tape_bytes_max,
                                        uint64_t tape_age_ms_max);

/**
 * Keeps what is needed to undo what is changed here, up to so many bytes of each document and so many
 * milliseconds of age: `sync_undo`. 0 stands for the default: 4 MiB, 30 days. Where a client is opened
 * without this, what was kept before is forgotten.
 *
 * Errors: `CLOSED`.
 */
sync_code sync_builder_keep_undo(sync_builder *builder,
                                 uint64_t bytes_max,
                                 uint64_t age_ms_max);

/**
 * Keeps a feed of what changes, here and elsewhere, up to so many bytes of each document and so many
 * milliseconds of age: `sync_feed`. 0 stands for the default: 64 MiB, 30 days. Where a client is opened
 * without this, what was kept before is forgotten.
 *
 * Errors: `CLOSED`.
 */
sync_code sync_builder_keep_feed(sync_builder *builder,
                                 uint64_t bytes_max,
                                 uint64_t age_ms_max);

/**
 * Names this program to the hub, and to others who are online: 1 to 128 bytes without control
 * characters. It is `sync-native` where not given.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_builder_agent(sync_builder *builder, const char *name);

/**
 * Opens with the line switched off, as `sync_set_offline` does, or not.
 *
 * Errors: `CLOSED`.
 */
sync_code sync_builder_offline(sync_builder *builder, bool is_offline);

/**
 * Looks at every row of the file at opening and takes out what is damaged, in place of an error:
 * `sync_damage` lists it, and a hub that has it brings it again. The time grows with the file.
 *
 * Errors: `CLOSED`.
 */
sync_code sync_builder_repair(sync_builder *builder);

/**
 * Closes a builder. Clients that it opened stay open.
 *
 * Errors: `CLOSED`, also the second time.
 */
sync_code sync_builder_close(sync_builder *builder);

/**
 * Opens the data directory, makes it if there is none, and starts to connect. Never waits for the
 * network. Each directory belongs to one client at a time.
 *
 * The client that `client` gets is the caller's, to be closed by `sync_close`. The builder stays the
 * caller's too.
 *
 * Errors: `MISUSE` (no document, a bad name), `CLOSED`, `ADDRESS`, `OPEN`, `IN_USE`, `NOT_WRITABLE`,
 * `FOREIGN`, `NEWER`, `DAMAGED`, `DISK_FULL`, `SYSTEM`.
 */
sync_code sync_open(sync_builder *builder,
                    sync_client **client);

/**
 * Shuts the client down once everything that was accepted is on disk, and closes it with its documents and
 * subscriptions; whoever waits on one of them hears `CLOSED`. Takes a moment to say goodbye to the hub, at
 * most, and waits for a function that gives tokens to return. The directory can be opened again
 * afterwards. The client is closed whatever this gives.
 *
 * A program that ends without this loses what is not yet on disk.
 *
 * Errors: `CLOSED`, also the second time; `STORE` or `DISK_FULL` where the store had failed.
 */
sync_code sync_close(sync_client *client);

/**
 * Blocks until nothing waits for the hub and the hub's state is here, in all documents; at most so many
 * milliseconds.
 *
 * Errors: `CLOSED`, `TIMED_OUT`, `OFFLINE`, `PARKED`, `STORE`.
 */
sync_code sync_wait_sync(sync_client *client,
                         uint64_t timeout_ms);

/**
 * Switches the line off or on. While it is off nothing is sent or received, and changes wait in the
 * outbox.
 *
 * Errors: `CLOSED`.
 */
sync_code sync_set_offline(sync_client *client, bool is_offline);

/**
 * Tries to connect at once, also after the hub turned this client away.
 *
 * Errors: `CLOSED`.
 */
sync_code sync_reconnect(sync_client *client);

/**
 * Says how the line to the hub is.
 *
 * `json` gets a text to be given back: `{"connection": "online", "connecting" or "offline", "reason":
 * text or null}`.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_connection(sync_client *client,
                          char **json);

/**
 * Looks at the whole file, and lists what is not as it was written, up to 100 rows. Others read and write
 * in between, though they may wait for a step of it. The time grows with the file. `sync_builder_repair`
 * takes out what this finds.
 *
 * `json` gets a text to be given back: `{"items": […], "more": number of those behind}`, with items
 * `{"table": name, or null for what SQLite says, "row": text}`.
 *
 * Errors: `MISUSE`, `CLOSED`, `READ`.
 */
sync_code sync_verify(sync_client *client,
                      char **json);

/**
 * Says what looking at the file in the background has found. A pass begins soon after opening, and each
 * day from then on; each ends with an event.
 *
 * `json` gets a text to be given back: `{"passes": how often the whole file was looked at since it was
 * opened, "items": what the last pass found, in the form of `sync_verify`}`.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_scrubbed(sync_client *client,
                        char **json);

/**
 * Lists what was damaged in the file and was taken out at opening, where `sync_builder_repair` asked for
 * that; in the form of `sync_verify`.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_damage(sync_client *client,
                      char **json);

/**
 * Gives a handle of a document that was named at opening. There may be several of one document; each
 * has a batch of its own.
 *
 * The handle that `document` gets is the caller's, to be closed by `sync_document_close`, or with its
 * client.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND` (it was not named at opening).
 */
sync_code sync_document_open(sync_client *client,
                             const char *name,
                             sync_document **document);

/**
 * Closes a handle of a document. What was begun and not committed is forgotten; what was changed is not.
 *
 * Errors: `CLOSED`, also the second time.
 */
sync_code sync_document_close(sync_document *document);

/**
 * Reads a record.
 *
 * `json` gets a text to be given back: `{"id": text, "fields": {name: field, …}, "conflict": whether
 * something about it clashes}`.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `READ`, `DAMAGED`.
 */
sync_code sync_get(sync_document *document,
                   const char *collection,
                   const char *id,
                   char **json);

/**
 * Reads records of a collection in the order of their ids: up to `limit` of those behind the id `after`,
 * or from the start where that is null. `limit` is 1 to `SYNC_LIST_MAX`. A collection that does not exist
 * has no records.
 *
 * `json` gets a text to be given back: `{"records": […], "next": id or null}`, with records in the form of
 * `sync_get`. Where `next` is an id, there may be more: ask again with it as `after`.
 *
 * Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
 */
sync_code sync_list(sync_document *document,
                    const char *collection,
                    const char *after,
                    size_t limit,
                    char **json);

/**
 * Lists the collections that hold anything, in order.
 *
 * `json` gets a text to be given back: a list of names.
 *
 * Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
 */
sync_code sync_collections(sync_document *document, char **json);

/**
 * Reads a set of the document, in order: the first `limit` members, from 1 to `SYNC_LIST_MAX`. A set that
 * does not exist is empty.
 *
 * `json` gets a text to be given back: `{"members": [value, …], "more": number of those behind}`.
 *
 * Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
 */
sync_code sync_set(sync_document *document,
                   const char *set,
                   size_t limit,
                   char **json);

/**
 * Says what a counter of the document stands at; 0 where there is none of this name.
 *
 * Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
 */
sync_code sync_counter(sync_document *document, const char *counter, int64_t *count);

/**
 * Reads a single value of the document.
 *
 * `json` gets a text to be given back: the value.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND` (it was never set), `READ`, `DAMAGED`.
 */
sync_code sync_value(sync_document *document, const char *name, char **json);

/**
 * Says how the document is with its hub.
 *
 * `json` gets a text to be given back: an object with the keys of `sync_connection`, and
 * `"phase"`: `"closed"`, `"opening"`, `"catching-up"` or `"live"`;
 * `"pending"`, `"pending_bytes"`: changes that the hub has not acknowledged, and no less than their bytes;
 * `"parked"`, `"parked_bytes"`: changes that it refused and that are kept here, and likewise;
 * `"refilling"`: whether the hub lacks something else that is here;
 * `"lag"`: how many fields that were written, and removals, the hub had that are not here, or null;
 * `"lag_ms"`: for how many milliseconds not all that the hub had has been known to be here, or null;
 * `"heard_ms"`, `"current_ms"`: when the hub was last heard, and when all that it had was here, in
 * milliseconds since 1970 by this device's clock, or null;
 * `"progress"`: `{"received": bytes, "total": bytes or null}` of a catch-up that is under way, or null;
 * `"conflicts"`: how many records and values clash; `"replica"`: who writes here.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_status(sync_document *document,
                      char **json);

/**
 * Shows others that this client is online in the document, under a name of at most 128 bytes, with at
 * most 4,096 bytes of the application's own. It ends when the client goes.
 *
 * Errors: `MISUSE`, `CLOSED`, `STORE`.
 */
sync_code sync_show(sync_document *document,
                    const char *name,
                    const uint8_t *state,
                    size_t state_len);

/**
 * Lists who else is online in the document: the first `SYNC_LIST_MAX` of them.
 *
 * `json` gets a text to be given back: `{"peers": [{"replica": text, "name": text, "state": {"$bytes":
 * base64}}, …], "more": number of those behind}`.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_peers(sync_document *document,
                     char **json);

/**
 * Adds a record, with the fields of the JSON object `fields`, under the id `id`, or under a fresh one
 * where that is null: a UUID whose order is that of time. An id is 1 to 128 bytes without control
 * characters.
 *
 * `id_out`, if it is not null, gets the id as a text to be given back, also in a batch.
 *
 * Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND` (a record of that id is there), `STORE`, `DISK_FULL`,
 * `SYSTEM`.
 */
sync_code sync_insert(sync_document *document,
                      const char *collection,
                      const char *id,
                      const char *fields,
                      char **id_out,
                      uint64_t *change);

/**
 * Writes the fields of the JSON object `fields` and leaves the others of the record.
 *
 * Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_update(sync_document *document,
                      const char *collection,
                      const char *id,
                      const char *fields,
                      uint64_t *change);

/**
 * Writes one field at a path of nested maps, and leaves its neighbours. `path` is a JSON list of names,
 * such as `["address", "city"]`, and `field` a field as JSON.
 *
 * Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_put(sync_document *document,
                   const char *collection,
                   const char *id,
                   const char *path,
                   const char *field,
                   uint64_t *change);

/**
 * Takes a field out of a record, at a path as in `sync_put`, with all that is below it.
 *
 * Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_unset(sync_document *document,
                     const char *collection,
                     const char *id,
                     const char *path,
                     uint64_t *change);

/**
 * Adds to a counter of a record, at a path as in `sync_put`; a negative amount takes away.
 *
 * Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_count(sync_document *document,
                     const char *collection,
                     const char *id,
                     const char *path,
                     int64_t amount,
                     uint64_t *change);

/**
 * Removes a record.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_remove(sync_document *document,
                      const char *collection,
                      const char *id,
                      uint64_t *change);

/**
 * Adds a member, a value as JSON, to a set of the document. A set begins to exist with its first member.
 *
 * Errors: `MISUSE`, `JSON`, `CLOSED`, `STORE`, `DISK_FULL`.
 */
sync_code sync_set_add(sync_document *document,
                       const char *set,
                       const char *member,
                       uint64_t *change);

/**
 * Removes a member, a value as JSON, from a set of the document.
 *
 * Errors: `MISUSE`, `JSON`, `CLOSED`, `STORE`, `DISK_FULL`.
 */
sync_code sync_set_remove(sync_document *document,
                          const char *set,
                          const char *member,
                          uint64_t *change);

/**
 * Adds to a counter of the document; a negative amount takes away. A counter begins at 0.
 *
 * Errors: `MISUSE`, `CLOSED`, `STORE`, `DISK_FULL`.
 */
sync_code sync_counter_add(sync_document *document,
                           const char *counter,
                           int64_t amount,
                           uint64_t *change);

/**
 * Sets a single value of the document: a value as JSON, or `{"$latest": value}`.
 *
 * Errors: `MISUSE`, `JSON`, `CLOSED`, `STORE`, `DISK_FULL`.
 */
sync_code sync_value_set(sync_document *document,
                         const char *name,
                         const char *value,
                         uint64_t *change);

/**
 * Begins a batch: what is changed through this handle from here on waits, is not read by anybody, and is
 * made as one by `sync_commit`, here and elsewhere whole or not at all. A batch may have 16,384 changes
 * and 1 MiB of JSON; one change, and so a batch, takes at most some 160,000 bytes as it is stored, which
 * `sync_commit` looks at. Two threads that make batches at a time need a handle each.
 *
 * Errors: `MISUSE` (one has begun already), `CLOSED`.
 */
sync_code sync_begin(sync_document *document);

/**
 * Makes the changes of the batch as one, and ends the batch, also where they are refused: then none of
 * them is made, and the message says which was refused. An empty batch changes nothing, and `change`
 * gets 0.
 *
 * Errors: `MISUSE` (none has begun, or it is too large), `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_commit(sync_document *document,
                      uint64_t *change);

/**
 * Forgets the changes of the batch, and ends it.
 *
 * Errors: `MISUSE` (none has begun), `CLOSED`.
 */
sync_code sync_rollback(sync_document *document);

/**
 * Blocks until a change of this handle is on this disk. `change` is its number, or 0 for the last one.
 *
 * Errors: `MISUSE` (no such number, or one that is too long ago), `CLOSED`, `STORE`, `DISK_FULL`.
 */
sync_code sync_wait_disk(sync_document *document,
                         uint64_t change);

/**
 * Blocks until a change of this handle is on the hub's disk, at most so many milliseconds. `change` is
 * its number, or 0 for the last one.
 *
 * Errors: `MISUSE` (no such number, or one that is too long ago), `CLOSED`, `TIMED_OUT`, `PARKED`,
 * `STORE`.
 */
sync_code sync_wait_hub(sync_document *document,
                        uint64_t change,
                        uint64_t timeout_ms);

/**
 * Says whether a change of this handle is on this disk, and on the hub's disk. `change` is its number, or
 * 0 for the last one; `on_disk` and `on_hub` may be null.
 *
 * Errors: `MISUSE` (no such number, or one that is too long ago), `CLOSED`.
 */
sync_code sync_is_safe(sync_document *document,
                       uint64_t change,
                       bool *on_disk,
                       bool *on_hub);

/**
 * Subscribes to everything that happens in a client from here on, to be asked for by `sync_next_event`.
 * At most 1,024 events wait for it; of more, `{"event": "missed"}` takes the place.
 *
 * The subscription that `events` gets is the caller's, to be closed by `sync_events_close`, or with its
 * client.
 *
 * Errors: `MISUSE`, `CLOSED`, `SYSTEM`.
 */
sync_code sync_subscribe(sync_client *client,
                         sync_events **events);

/**
 * Blocks until the next event, at most so many milliseconds; 0 asks without waiting. One thread at a time
 * may wait on a subscription; closing it, or its client, wakes that one.
 *
 * `json` gets a text to be given back, one of:
 * `{"event": "changed", "document": name, "places": [{"collection": name, "id": text}, {"set": name},
 * {"value": name}, …]}`: records, sets, values or counters changed, here or elsewhere;
 * `{"event": "status", "document": name}`: ask `sync_status` again;
 * `{"event": "peers", "document": name}`: ask `sync_peers` again;
 * `{"event": "conflict", "document": name, "entry": {…}}`: a conflict was seen, or its sides changed, with
 * the entry as `sync_conflict_log` has it, but for `"open"`;
 * `{"event": "renewed", "document": name, "replica": text}`: the document is written under another name
 * from here on;
 * `{"event": "connection", "connection": text, "reason": text or null}`: as `sync_connection` has it;
 * `{"event": "clock", "behind_ms": number}`: this device's clock is behind the hub's by so many
 * milliseconds, or ahead where negative; what is written has the hub's time. Tell whoever can set it;
 * `{"event": "scrubbed", "passes": number, "items": […]}`: the file was looked at in the background, as
 * `sync_scrubbed` has it;
 * `{"event": "missed"}`: nobody asked for too long, and events are gone: read everything again.
 * There may be others in later versions; leave out what you do not know.
 *
 * Errors: `MISUSE` (null, or a subscription that tells a listener), `CLOSED`, `BUSY`, `TIMED_OUT`.
 */
sync_code sync_next_event(sync_events *events,
                          uint64_t timeout_ms,
                          char **json);

/**
 * Subscribes to everything that happens in a client from here on, and has a thread of the library tell it
 * to a function, with `user` handed through. While the function runs, at most 1,024 events wait.
 *
 * The subscription that `events` gets is the caller's, to be closed by `sync_events_close`, or with its
 * client: that waits for the function to return, and it is not called afterwards. The function may do
 * that itself; then it is not called again once it returns.
 *
 * Errors: `MISUSE`, `CLOSED`, `SYSTEM`.
 */
sync_code sync_listen(sync_client *client,
                      sync_listener listener,
                      void *user,
                      sync_events **events);

/**
 * Closes a subscription. Whoever waits on it hears `CLOSED`.
 *
 * Errors: `CLOSED`, also the second time.
 */
sync_code sync_events_close(sync_events *events);

/**
 * Lists what clashes at present in a collection, by record: the first `limit` records, from 1 to
 * `SYNC_LIST_MAX`.
 *
 * `json` gets a text to be given back: `{"clashes": […], "more": number of those behind}`. A clash is
 * `{"id": text, "fields": {…}, or null where only an edit is left of the record, "conflicts": […],
 * "versions": [{"author": text, "at_ms": number, "fields": {…}}, …]}`. Times are milliseconds since 1970
 * by the author's clock. A conflict is one of
 * `{"kind": "field", "field": path, "values": [{"author": text, "at_ms": number, "value": value}, …]}`,
 * which `sync_keep` resolves,
 * `{"kind": "edit-kept", "editor": text, "remover": text or null}`, which `sync_adopt` or `sync_remove`
 * resolves, and
 * `{"kind": "partial", "editors": [text, …]}`, which `sync_restore` or `sync_dismiss` resolves.
 *
 * Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
 */
sync_code sync_conflicts(sync_document *document,
                         const char *collection,
                         size_t limit,
                         char **json);

/**
 * Lists what clashed so far in the document, also what was resolved since: the first `limit` entries,
 * from 1 to `SYNC_LIST_MAX`. The log has at most 1,000 entries; the oldest go first.
 *
 * `json` gets a text to be given back: `{"entries": […], "more": number of those behind}`. An entry is
 * `{"collection": name, "id": text, "field": path, or null for an edit against a delete, "sides":
 * [{"author": text, "at_ms": number or null, "deleted": whether this side deleted the record, "value":
 * value or null}, …], "seen_ms": number, "open": whether it still clashes}`.
 *
 * Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
 */
sync_code sync_conflict_log(sync_document *document,
                            size_t limit,
                            char **json);

/**
 * Resolves the clashing fields of a record by writing again what one author wrote, as `sync_conflicts`
 * names it.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND` (no such record, or nothing of this author clashes), `STORE`,
 * `DISK_FULL`.
 */
sync_code sync_keep(sync_document *document,
                    const char *collection,
                    const char *id,
                    const char *author,
                    uint64_t *change);

/**
 * Settles a record that was edited here and deleted there: it stays.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_adopt(sync_document *document,
                     const char *collection,
                     const char *id,
                     uint64_t *change);

/**
 * Makes a record again of what an edit left of one that was deleted.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_restore(sync_document *document,
                       const char *collection,
                       const char *id,
                       uint64_t *change);

/**
 * Removes what an edit left of a record that was deleted.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_dismiss(sync_document *document,
                       const char *collection,
                       const char *id,
                       uint64_t *change);

/**
 * Lists what the hub has not acknowledged, of all documents, in the order in which it is sent: up to
 * `limit` items behind the one with the key `after`, or from the start where that is null. `limit` is 1 to
 * `SYNC_LIST_MAX`.
 *
 * `json` gets a text to be given back: `{"items": […], "next": key or null}`. Where `next` is a key, there
 * may be more: ask again with it as `after`. An item is one change, or several that followed each other:
 * `{"key": text, "document": name, "state": "pending", "in-flight", "waiting" for another item that is
 * parked, or "parked", "reason": text or null, "bytes": its size as it is sent, "changes": number,
 * "since_ms": milliseconds since 1970 by the clock of then, or null, "places": the first 16 records, sets
 * and values that it is about, as in `sync_next_event`, "place_count": how many there are}`.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND` (the document of `after`).
 */
sync_code sync_outbox(sync_client *client,
                      const char *after,
                      size_t limit,
                      char **json);

/**
 * Sets an item aside that is not on its way to the hub, for a reason of the application's. What depends on
 * it waits with it.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `BUSY` (it is on its way), `STORE`, `DISK_FULL`.
 */
sync_code sync_outbox_park(sync_client *client,
                           const char *item,
                           const char *reason);

/**
 * Lets a parked item be sent again as it is, with what waits for it; or all that are parked, where `item`
 * is null. `count`, if it is not null, gets how many that are.
 *
 * Errors: `MISUSE` (also where it is not parked), `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_outbox_retry(sync_client *client,
                            const char *item,
                            size_t *count);

/**
 * Writes again what a parked item wrote and is still there, as a change of now. Nobody ever has both.
 *
 * Errors: `MISUSE` (also where it is not parked), `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
 */
sync_code sync_outbox_rewrite(sync_client *client,
                              const char *item);

/**
 * Gives a parked item up: what it wrote is taken back here, and reaches nobody. What it overwrote or
 * removed comes back from the hub, if that has it.
 *
 * `json` gets a text to be given back: the item, in the form of `sync_outbox`. It may be null.
 *
 * Errors: `MISUSE` (also where it is not parked, or another item depends on it), `CLOSED`, `NOT_FOUND`,
 * `STORE`, `DISK_FULL`.
 */
sync_code sync_outbox_drop(sync_client *client,
                           const char *item,
                           char **json);

/**
 * Undoes the last change that was made in this client and not undone, as an ordinary change, which is never
 * part of a batch: what it wrote and is still there goes, what it replaced comes again where nobody has
 * written anything else since. `change` gets 0 where there is nothing to undo.
 *
 * Errors: `MISUSE`, `CLOSED`, `STORE`, `READ`, `DAMAGED`, `DISK_FULL`.
 */
sync_code sync_undo(sync_document *document,
                    uint64_t *change);

/**
 * Does again what was undone last, where nothing was changed here since. `change` gets 0 where there is
 * nothing.
 *
 * Errors: `MISUSE`, `CLOSED`, `STORE`, `READ`, `DAMAGED`, `DISK_FULL`.
 */
sync_code sync_redo(sync_document *document,
                    uint64_t *change);

/**
 * Says how many changes can be undone, and how many redone. Both may be null.
 *
 * Errors: `CLOSED`.
 */
sync_code sync_undo_depth(sync_document *document, size_t *undos, size_t *redos);

/**
 * Forgets what can be undone and redone. Blocks until that is on disk.
 *
 * Errors: `CLOSED`, `STORE`, `READ`, `DISK_FULL`.
 */
sync_code sync_undo_purge(sync_document *document);

/**
 * Keeps the document as it stands under a label of at most 256 bytes, and from here on a tape of what
 * happens to it. Blocks until that is on disk; nothing else of the client is read or written meanwhile, and
 * the time grows with the document, which may have 1 GiB. What is too old or too much goes, the oldest
 * first: see `sync_builder_keep_checkpoints`.
 *
 * `number` gets what names the checkpoint, for ever.
 *
 * Errors: `MISUSE` (the label or the document is too large, too), `CLOSED`, `STORE`, `READ`, `DAMAGED`,
 * `DISK_FULL`.
 */
sync_code sync_checkpoint(sync_document *document,
                          const char *label,
                          uint64_t *number);

/**
 * Lists the checkpoints that are kept, the oldest first: the first `limit`, from 1 to `SYNC_LIST_MAX`.
 *
 * `json` gets a text to be given back: `{"checkpoints": [{"number": number, "label": text, "at_ms":
 * milliseconds since 1970 by this device's clock of then, "bytes": its size in the file, "whole": whether
 * the tape has everything since}, …], "more": number of those behind}`.
 *
 * Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
 */
sync_code sync_checkpoints(sync_document *document,
                           size_t limit,
                           char **json);

/**
 * Lets a checkpoint go, and what of the tape no other one needs. Blocks until that is on disk.
 *
 * Errors: `CLOSED`, `NOT_FOUND`, `STORE`, `READ`, `DISK_FULL`.
 */
sync_code sync_checkpoint_drop(sync_document *document, uint64_t number);

/**
 * Lets all checkpoints go, and the tape. Blocks until that is on disk.
 *
 * Errors: `CLOSED`, `STORE`, `READ`, `DISK_FULL`.
 */
sync_code sync_checkpoints_purge(sync_document *document);

/**
 * Reads the document as it was at a checkpoint into memory.
 *
 * The handle that `past` gets is the caller's, to be closed by `sync_past_close`, or with its client.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `READ`, `DAMAGED`.
 */
sync_code sync_past_open(sync_document *document,
                         uint64_t number,
                         sync_past **past);

/**
 * Closes a document of the past.
 *
 * Errors: `CLOSED`, also the second time.
 */
sync_code sync_past_close(sync_past *past);

/**
 * Reads a record as it was; in the form of `sync_get`.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`.
 */
sync_code sync_past_get(sync_past *past, const char *collection, const char *id, char **json);

/**
 * Reads records of a collection as they were, in the order of their ids; as `sync_list`.
 *
 * Errors: `MISUSE`, `CLOSED`.
 */
sync_code sync_past_list(sync_past *past,
                         const char *collection,
                         const char *after,
                         size_t limit,
                         char **json);

/**
 * Lists what is not as it was at a checkpoint: the first `limit` places, from 1 to `SYNC_LIST_MAX`, in the
 * order of their kinds and names. The document of then is in memory meanwhile.
 *
 * `json` gets a text to be given back: `{"differences": [{"place": as in `sync_next_event`, "old": fields
 * then, or null where it was not there, "new": fields now, or null}, …], "more": number of those behind}`.
 * Sets and values have one field, without a name.
 *
 * Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `READ`, `DAMAGED`.
 */
sync_code sync_diff(sync_document *document,
                    uint64_t number,
                    size_t limit,
                    char **json);

/**
 * Restores a checkpoint in memory, replays there what the tape has since then, and compares the snapshots of
 * that and of the document as it is, byte for byte. The document stays as it is.
 *
 * `json` gets a text to be given back: `{"changes": how many were replayed, "bytes": how many the snapshots
 * have}`.
 *
 * Errors: `MISUSE` (the document is too large), `CLOSED`, `NOT_FOUND`, `GONE` (the tape no longer has all
 * since then), `READ`, `DAMAGED` (also where they are not the same).
 */
sync_code sync_rewind(sync_document *document,
                      uint64_t number,
                      char **json);

/**
 * Takes back changes that the tape has, whoever made them: what they wrote and is still there goes, and what
 * they replaced comes again where nobody else has written anything since. That is an ordinary change, or
 * several where one would be too large, and is never part of a batch.
 *
 * `which` is a JSON object with any of these keys, all of which must hold: `"since"`: the number of a
 * checkpoint; `"author"`: who wrote; `"device"`: one replica of a device, whose others count too;
 * `"from_ms"`, `"until_ms"`: when it was made or arrived here, in milliseconds since 1970 by this device's
 * clock, the second one excluded.
 *
 * `json` gets a text to be given back: `{"changes": numbers of the changes, as `change` gets them,
 * "unclear": the first `SYNC_LIST_MAX` places where it is not known who took something, which stays away
 * there, as in `sync_next_event`, "more": number of those behind}`.
 *
 * Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND` (no such checkpoint, or none at all), `GONE` (the tape no
 * longer has all since then), `STORE`, `READ`, `DAMAGED`, `DISK_FULL`.
 */
sync_code sync_revert(sync_document *document,
                      const char *which,
                      char **json);

/**
 * Gives the oldest place from which the feed can be followed.
 *
 * Errors: `MISUSE` (no feed is kept, too), `CLOSED`, `READ`.
 */
sync_code sync_feed_begin(sync_document *document, uint64_t *cursor);

/**
 * Gives the end of the feed: from here on nothing is missed of what comes. Whoever reads the state after
 * asking for this, and follows from here, has everything.
 *
 * Errors: `MISUSE` (no feed is kept, too), `CLOSED`, `READ`.
 */
sync_code sync_feed_end(sync_document *document,
                        uint64_t *cursor);

/**
 * Reads what changed behind the cursor `after`: fields that changed here or elsewhere, in the order in which
 * they did, up to `limit` of them, from 1 to `SYNC_LIST_MAX`. Only what is on disk is told, and all of it at
 * least once: keep `next` together with what was made of the entries. `collections` is a JSON list of names,
 * or null for everything.
 *
 * `json` gets a text to be given back: `{"entries": […], "next": the cursor to go on with, "has_more":
 * whether there may be more at once}`. A page may be empty though there is more. An entry is
 * `{"cursor": where the feed is behind it, "change": text that names the change, which may have several
 * entries, "place": as in `sync_next_event`, "path": names of nested maps, then of the field; empty where a
 * record came or went, and of sets and values, "old": what the field held, "new": what it holds, "author":
 * text, or null where it is not known, "at_ms": when it was changed or arrived here, in milliseconds since
 * 1970 by this device's clock}`. There is no `"old"` where the field was not there, and no `"new"` where it
 * is not any more.
 *
 * Errors: `MISUSE` (no feed is kept, too), `JSON`, `CLOSED`, `GONE` (what comes behind the cursor is no
 * longer kept: take the end, read the state anew, and go on there), `READ`, `DAMAGED`.
 */
sync_code sync_feed(sync_document *document,
                    uint64_t after,
                    const char *collections,
                    size_t limit,
                    char **json);

/**
 * As `sync_feed`, and blocks until there is something that is wanted, at most so many milliseconds: a page
 * without entries says that the time is over.
 *
 * Errors: `MISUSE` (no feed is kept, too), `JSON`, `CLOSED`, `GONE`, `STORE`, `READ`, `DAMAGED`.
 */
sync_code sync_wait_feed(sync_document *document,
                         uint64_t after,
                         const char *collections,
                         size_t limit,
                         uint64_t timeout_ms,
                         char **json);

/**
 * Forgets the feed. Whoever follows it hears `GONE`. Blocks until that is on disk.
 *
 * Errors: `CLOSED`, `STORE`, `READ`, `DISK_FULL`.
 */
sync_code sync_feed_purge(sync_document *document);

/**
 * Copies all documents as they are now into a folder, which is made if there is none, while the client is
 * in use. A client that is opened on the copy is another replica; what was not sent yet is in its outbox
 * too, and is never there twice.
 *
 * Errors: `MISUSE`, `CLOSED`, `EXISTS`, `FILE`, `DISK_FULL`, `READ`, `DAMAGED`.
 */
sync_code sync_backup(sync_client *client,
                      const char *folder);

/**
 * Leaves nothing in the file of what was deleted or overwritten, the conflict log included; what still
 * clashes stays. Blocks, and nothing else is read or changed meanwhile.
 *
 * Errors: `CLOSED`, `STORE`, `READ`, `DISK_FULL`.
 */
sync_code sync_purge(sync_client *client);

/**
 * Writes the document as it is here to a file, for `sync_import` on any device: at most 256 MiB, and held
 * in memory. A file of this name is replaced once all of the new one is on the disk.
 *
 * Errors: `MISUSE` (the document is too large, too), `CLOSED`, `FILE`, `READ`, `DAMAGED`.
 */
sync_code sync_export(sync_document *document,
                      const char *path);

/**
 * Joins a file that `sync_export` wrote with the document. Blocks, and nothing else is read or changed
 * meanwhile. `count`, if it is not null, gets how many fields that were written, and removals, were not
 * here before.
 *
 * Errors: `MISUSE` (the file is too large, too), `CLOSED`, `FILE`, `DAMAGED` (or no such file), `NEWER`,
 * `STORE`, `DISK_FULL`.
 */
sync_code sync_import(sync_document *document,
                      const char *path,
                      uint64_t *count);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SYNC_NATIVE_H */
