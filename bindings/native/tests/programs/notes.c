/*
 * Two clients of one hub, and every error that a program can bring about by itself.
 * Arguments: a folder, and the address of a hub that serves.
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <unistd.h>

#include "check.h"

static void opening_fails_for_a_reason(const char *folder)
{
    char path[4096];
    FILE *file;
    sync_client *client = (sync_client *)&client, *second;
    sync_builder *builder;

    FAILS(SYNC_CODE_MISUSE, sync_builder_new(NULL, &builder));
    CHECK(builder == NULL);
    FAILS(SYNC_CODE_MISUSE, sync_builder_new("\xff", &builder));
    FAILS(SYNC_CODE_MISUSE, sync_builder_new("somewhere", NULL));
    FAILS(SYNC_CODE_CLOSED, sync_open(NULL, &client));
    CHECK(client == NULL);

    /* No document is named. */
    WORKS(sync_builder_new(folder, &builder));
    FAILS(SYNC_CODE_MISUSE, sync_open(builder, &client));
    FAILS(SYNC_CODE_MISUSE, sync_open(builder, NULL));
    WORKS(sync_builder_document(builder, "bad\nname"));
    FAILS(SYNC_CODE_MISUSE, sync_open(builder, &client));
    WORKS(sync_builder_close(builder));
    FAILS(SYNC_CODE_CLOSED, sync_builder_close(builder));
    FAILS(SYNC_CODE_CLOSED, sync_builder_document(builder, "notes"));

    builder = prepare(folder, "address", "nowhere");
    FAILS(SYNC_CODE_ADDRESS, sync_open(builder, &client));
    WORKS(sync_builder_close(builder));

    /* A file lies where the directory should be. */
    snprintf(path, sizeof path, "%s/a-file", folder);
    CHECK((file = fopen(path, "w")) != NULL);
    CHECK(fputs("a file", file) >= 0 && fclose(file) == 0);
    builder = prepare(folder, "a-file", NULL);
    FAILS(SYNC_CODE_OPEN, sync_open(builder, &client));
    CHECK(client == NULL);
    WORKS(sync_builder_close(builder));

    /* Something else lies where the database should be. */
    client = open_client(folder, "foreign", NULL);
    WORKS(sync_close(client));
    snprintf(path, sizeof path, "%s/foreign/client.db", folder);
    CHECK((file = fopen(path, "w")) != NULL);
    CHECK(fputs("no database, but a text that is long enough to be looked at as one, which takes "
                "more than the hundred bytes of a header", file) >= 0 && fclose(file) == 0);
    builder = prepare(folder, "foreign", NULL);
    FAILS(SYNC_CODE_FOREIGN, sync_open(builder, &client));
    WORKS(sync_builder_close(builder));

    /* Somebody has it open. */
    builder = prepare(folder, "twice", NULL);
    WORKS(sync_open(builder, &client));
    FAILS(SYNC_CODE_IN_USE, sync_open(builder, &second));
    CHECK(second == NULL);
    HOLDS(sync_error_message(), "already in use");
    WORKS(sync_close(client));
    WORKS(sync_open(builder, &client));
    WORKS(sync_close(client));
    WORKS(sync_builder_close(builder));
}

static void what_cannot_be_used_changes_nothing(sync_client *client, sync_document *notes)
{
    char *text = (char *)&text;
    char *long_text;
    uint64_t change = 7;
    bool on_disk = true;
    sync_document *other = (sync_document *)&other;

    FAILS(SYNC_CODE_NOT_FOUND, sync_document_open(client, "others", &other));
    CHECK(other == NULL);
    /* Nothing was changed through this handle. */
    FAILS(SYNC_CODE_MISUSE, sync_wait_disk(notes, 0));

    FAILS(SYNC_CODE_JSON, sync_insert(notes, "notes", "x", "{\"title\":", NULL, &change));
    CHECK(change == 0);
    HOLDS(sync_error_message(), "line 1");
    FAILS(SYNC_CODE_JSON, sync_insert(notes, "notes", "x", "[1]", NULL, NULL));
    FAILS(SYNC_CODE_JSON, sync_insert(notes, "notes", "x", "{\"a\":{\"$no\":1}}", NULL, NULL));
    FAILS(SYNC_CODE_JSON, sync_insert(notes, "notes", "x", "{\"a\":18446744073709551616}", NULL, NULL));
    FAILS(SYNC_CODE_MISUSE, sync_insert(notes, "notes", "x", NULL, &text, NULL));
    CHECK(text == NULL);
    FAILS(SYNC_CODE_MISUSE, sync_insert(notes, NULL, "x", "{}", NULL, NULL));
    FAILS(SYNC_CODE_MISUSE, sync_insert(notes, "", "x", "{\"a\":1}", NULL, NULL));
    FAILS(SYNC_CODE_MISUSE, sync_insert(notes, "notes", "\xc3", "{}", NULL, NULL));
    FAILS(SYNC_CODE_MISUSE, sync_insert(notes, "notes", "a\nb", "{}", NULL, NULL));
    FAILS(SYNC_CODE_JSON, sync_put(notes, "notes", "x", "\"a\"", "1", NULL));
    FAILS(SYNC_CODE_NOT_FOUND, sync_update(notes, "notes", "x", "{\"a\":1}", NULL));
    FAILS(SYNC_CODE_NOT_FOUND, sync_remove(notes, "notes", "x", NULL));
    FAILS(SYNC_CODE_NOT_FOUND, sync_get(notes, "notes", "x", &text));
    CHECK(text == NULL);
    FAILS(SYNC_CODE_MISUSE, sync_get(notes, "notes", "x", NULL));
    FAILS(SYNC_CODE_NOT_FOUND, sync_value(notes, "v", &text));
    FAILS(SYNC_CODE_JSON, sync_value_set(notes, "v", "{\"$counter\":1}", NULL));
    FAILS(SYNC_CODE_MISUSE, sync_list(notes, "notes", NULL, 0, &text));
    FAILS(SYNC_CODE_MISUSE, sync_list(notes, "notes", NULL, SYNC_LIST_MAX + 1, &text));
    FAILS(SYNC_CODE_MISUSE, sync_keep(notes, "notes", "x", "nobody", NULL));
    FAILS(SYNC_CODE_MISUSE, sync_commit(notes, NULL));
    FAILS(SYNC_CODE_MISUSE, sync_rollback(notes));
    FAILS(SYNC_CODE_MISUSE, sync_listen(client, NULL, NULL, (sync_events **)&text));

    /* Too long a text, and one that is short enough and still too large a change. */
    CHECK((long_text = malloc((1 << 20) + 2)) != NULL);
    memset(long_text, ' ', (1 << 20) + 1);
    long_text[(1 << 20) + 1] = 0;
    FAILS(SYNC_CODE_MISUSE, sync_insert(notes, "notes", "x", long_text, NULL, NULL));
    memset(long_text, 'x', 300000);
    memcpy(long_text, "{\"a\":\"", 6);
    memcpy(long_text + 300000, "\"}", 3);
    FAILS(SYNC_CODE_MISUSE, sync_insert(notes, "notes", "x", long_text, NULL, NULL));
    HOLDS(sync_error_message(), "limit");
    free(long_text);

    /* Handles of another kind, and none at all. */
    FAILS(SYNC_CODE_CLOSED, sync_status((sync_document *)client, &text));
    FAILS(SYNC_CODE_CLOSED, sync_close((sync_client *)notes));
    FAILS(SYNC_CODE_CLOSED, sync_close(NULL));
    FAILS(SYNC_CODE_CLOSED, sync_close((sync_client *)&change));
    FAILS(SYNC_CODE_MISUSE, sync_is_safe(notes, 1, &on_disk, NULL));
    CHECK(!on_disk);
    HOLDS(list(notes), "{\"next\":null,\"records\":[]}");
    sync_string_free(NULL);
}

static void fields_of_every_kind_come_back(sync_document *notes)
{
    uint64_t change;
    bool on_disk, on_hub;
    int64_t count;
    char *id, *text;
    const char *read;

    WORKS(sync_insert(notes, "notes", NULL,
                      "{\"title\": \"Milk\", \"blob\": {\"$bytes\": \"AAEC/w==\"},"
                      " \"tags\": {\"$set\": [\"home\", \"shop\"]}, \"seen\": {\"$counter\": 2},"
                      " \"at\": {\"$map\": {\"x\": 1.5}}, \"last\": {\"$latest\": [null, true]}}",
                      &id, &change));
    CHECK(change == 1 && strlen(id) == 36);
    WORKS(sync_wait_disk(notes, change));
    WORKS(sync_is_safe(notes, change, &on_disk, &on_hub));
    CHECK(on_disk && !on_hub);
    FAILS(SYNC_CODE_TIMED_OUT, sync_wait_hub(notes, change, 0));
    FAILS(SYNC_CODE_MISUSE, sync_wait_disk(notes, 2));
    FAILS(SYNC_CODE_NOT_FOUND, sync_insert(notes, "notes", id, "{}", NULL, NULL));

    WORKS(sync_update(notes, "notes", id, "{\"title\": \"Gr\xc3\xbc\xc3\x9f" "e\", \"big\": 9007199254740993}", NULL));
    WORKS(sync_put(notes, "notes", id, "[\"at\", \"y\"]", "-2", NULL));
    WORKS(sync_unset(notes, "notes", id, "[\"at\", \"x\"]", NULL));
    WORKS(sync_count(notes, "notes", id, "[\"seen\"]", -5, &change));
    CHECK(change == 5);
    read = get(notes, id);
    HOLDS(read, "\"title\":\"Gr\xc3\xbc\xc3\x9f" "e\"");
    HOLDS(read, "\"big\":9007199254740993");
    HOLDS(read, "\"blob\":{\"$bytes\":\"AAEC/w==\"}");
    HOLDS(read, "\"tags\":{\"$set\":[\"home\",\"shop\"]}");
    HOLDS(read, "\"seen\":{\"$counter\":-3}");
    HOLDS(read, "\"at\":{\"$map\":{\"y\":-2}}");
    HOLDS(read, "\"last\":{\"$latest\":[null,true]}");
    HOLDS(read, "\"conflict\":false");

    WORKS(sync_set_add(notes, "colours", "\"red\"", NULL));
    WORKS(sync_set_add(notes, "colours", "{\"$bytes\": \"AA==\"}", NULL));
    WORKS(sync_set_add(notes, "colours", "7", NULL));
    WORKS(sync_set_remove(notes, "colours", "\"red\"", NULL));
    WORKS(sync_set(notes, "colours", 1, &text));
    HOLDS(keep(text), "{\"members\":[7],\"more\":1}");
    WORKS(sync_set(notes, "none", 1, &text));
    HOLDS(keep(text), "{\"members\":[],\"more\":0}");
    WORKS(sync_counter_add(notes, "visits", 40, NULL));
    WORKS(sync_counter_add(notes, "visits", 2, NULL));
    WORKS(sync_counter(notes, "visits", &count));
    CHECK(count == 42);
    WORKS(sync_value_set(notes, "name", "{\"$latest\": \"list\"}", NULL));
    WORKS(sync_value(notes, "name", &text));
    HOLDS(keep(text), "\"list\"");
    WORKS(sync_collections(notes, &text));
    HOLDS(keep(text), "[\"notes\"]");
    WORKS(sync_remove(notes, "notes", id, NULL));
    FAILS(SYNC_CODE_NOT_FOUND, sync_get(notes, "notes", id, &text));
    sync_string_free(id);
}

static void a_batch_is_made_whole_or_not_at_all(sync_client *client, sync_document *notes)
{
    uint64_t change = 7;
    char *text, *id;
    sync_document *other = open_notes(client);

    WORKS(sync_begin(notes));
    FAILS(SYNC_CODE_MISUSE, sync_begin(notes));
    WORKS(sync_insert(notes, "notes", NULL, "{\"title\": \"a\"}", &id, &change));
    CHECK(change == 0 && strlen(id) == 36);
    WORKS(sync_update(notes, "notes", id, "{\"title\": \"b\"}", NULL));
    FAILS(SYNC_CODE_NOT_FOUND, sync_get(notes, "notes", id, &text));
    /* Another handle has a batch of its own, or none. */
    WORKS(sync_insert(other, "notes", "other", "{}", NULL, &change));
    CHECK(change == 1);
    WORKS(sync_commit(notes, &change));
    CHECK(change > 1);
    WORKS(sync_wait_disk(notes, change));
    HOLDS(get(notes, id), "\"title\":\"b\"");

    WORKS(sync_begin(notes));
    WORKS(sync_remove(notes, "notes", id, NULL));
    WORKS(sync_remove(notes, "notes", "nothing", NULL));
    FAILS(SYNC_CODE_NOT_FOUND, sync_commit(notes, &change));
    HOLDS(sync_error_message(), "change 2 of 2");
    CHECK(change == 0);
    FAILS(SYNC_CODE_MISUSE, sync_commit(notes, NULL));
    HOLDS(get(notes, id), "\"title\":\"b\"");

    WORKS(sync_begin(notes));
    WORKS(sync_remove(notes, "notes", id, NULL));
    WORKS(sync_rollback(notes));
    HOLDS(get(notes, id), "\"title\":\"b\"");
    WORKS(sync_begin(notes));
    change = 7;
    WORKS(sync_commit(notes, &change));
    CHECK(change == 0);

    WORKS(sync_remove(notes, "notes", id, NULL));
    WORKS(sync_remove(notes, "notes", "other", NULL));
    sync_string_free(id);
    WORKS(sync_document_close(other));
    FAILS(SYNC_CODE_CLOSED, sync_document_close(other));
}

static void records_are_listed_in_pages(sync_document *notes)
{
    char id[16], *text;
    int number;

    WORKS(sync_begin(notes));
    for (number = 0; number < 5; number++) {
        snprintf(id, sizeof id, "page-%d", number);
        WORKS(sync_insert(notes, "pages", id, "{\"title\": 1}", NULL, NULL));
    }
    WORKS(sync_commit(notes, NULL));
    WORKS(sync_list(notes, "pages", NULL, 2, &text));
    HOLDS(keep(text), "\"next\":\"page-1\"");
    HOLDS(text, "page-0");
    LACKS(text, "page-2");
    WORKS(sync_list(notes, "pages", "page-1", 3, &text));
    HOLDS(keep(text), "\"next\":\"page-4\"");
    WORKS(sync_list(notes, "pages", "page-4", 3, &text));
    HOLDS(keep(text), "{\"next\":null,\"records\":[]}");
}

/* Writes a draft, and finds the item of the outbox that it is in: the last one. */
static void write_draft(sync_client *client, sync_document *notes, const char *id, char key[256])
{
    char *text;
    const char *found, *next;

    WORKS(sync_insert(notes, "drafts", id, "{\"title\": \"unwanted\"}", NULL, NULL));
    WORKS(sync_wait_disk(notes, 0));
    WORKS(sync_outbox(client, NULL, SYNC_LIST_MAX, &text));
    HOLDS(keep(text), "\"state\":\"pending\"");
    HOLDS(text, "\"next\":null");
    CHECK((found = strstr(text, "\"key\":\"")) != NULL);
    while ((next = strstr(found + 1, "\"key\":\"")) != NULL)
        found = next;
    CHECK(sscanf(found, "\"key\":\"%255[^\"]", key) == 1);
}

static void what_waits_can_be_set_aside(sync_client *client, sync_document *notes)
{
    char key[256], *text;
    size_t count;

    write_draft(client, notes, "first", key);
    FAILS(SYNC_CODE_MISUSE, sync_outbox_park(client, "no key", "for now"));
    FAILS(SYNC_CODE_MISUSE, sync_outbox_retry(client, key, NULL));
    FAILS(SYNC_CODE_MISUSE, sync_outbox_drop(client, key, &text));
    FAILS(SYNC_CODE_NOT_FOUND, sync_outbox_park(client, "00000000000000000000000000000000:1@notes", "x"));
    WORKS(sync_outbox_park(client, key, "for now"));
    WORKS(sync_outbox(client, NULL, SYNC_LIST_MAX, &text));
    HOLDS(keep(text), "\"reason\":\"for now\",");
    HOLDS(text, "\"state\":\"parked\"");
    WORKS(sync_outbox_retry(client, NULL, &count));
    CHECK(count == 1);
    LACKS(status(notes), "\"parked\":1");
    /* It may be sent at any time from here on. */
    FAILS(SYNC_CODE_BUSY, sync_outbox_park(client, key, "for good"));

    write_draft(client, notes, "anew", key);
    WORKS(sync_outbox_park(client, key, "for good"));
    WORKS(sync_outbox_rewrite(client, key));
    HOLDS(status(notes), "\"parked\":0");
    WORKS(sync_get(notes, "drafts", "anew", &text));
    HOLDS(keep(text), "unwanted");

    write_draft(client, notes, "second", key);
    WORKS(sync_outbox_park(client, key, "for good"));
    WORKS(sync_outbox_drop(client, key, &text));
    HOLDS(keep(text), "\"reason\":\"for good\"");
    HOLDS(text, "{\"collection\":\"drafts\",\"id\":\"second\"}");
    FAILS(SYNC_CODE_NOT_FOUND, sync_get(notes, "drafts", "second", &text));
}

static void copies_have_what_is_there(const char *folder, sync_client *client, sync_document *notes)
{
    char path[4096], *text;
    sync_client *copy;
    sync_document *on_copy;
    uint64_t count;

    snprintf(path, sizeof path, "%s/backup", folder);
    WORKS(sync_backup(client, path));
    FAILS(SYNC_CODE_EXISTS, sync_backup(client, path));
    copy = open_client(folder, "backup", NULL);
    on_copy = open_notes(copy);
    HOLDS(get(on_copy, "shared"), "\"title\":\"one\"");
    WORKS(sync_close(copy));

    snprintf(path, sizeof path, "%s/missing/file", folder);
    FAILS(SYNC_CODE_FILE, sync_export(notes, path));
    FAILS(SYNC_CODE_FILE, sync_import(notes, path, &count));
    snprintf(path, sizeof path, "%s/a-file", folder);
    FAILS(SYNC_CODE_DAMAGED, sync_import(notes, path, &count));
    snprintf(path, sizeof path, "%s/notes.export", folder);
    WORKS(sync_export(notes, path));
    copy = open_client(folder, "imported", NULL);
    on_copy = open_notes(copy);
    FAILS(SYNC_CODE_NOT_FOUND, sync_get(on_copy, "notes", "shared", &text));
    WORKS(sync_import(on_copy, path, &count));
    CHECK(count > 0);
    HOLDS(get(on_copy, "shared"), "\"title\":\"one\"");
    WORKS(sync_import(on_copy, path, &count));
    CHECK(count == 0);
    WORKS(sync_close(copy));

    WORKS(sync_purge(client));
    WORKS(sync_conflict_log(notes, 1, &text));
    HOLDS(keep(text), "{\"entries\":[],\"more\":0}");
    HOLDS(get(notes, "shared"), "\"title\":\"one\"");
}

static void the_hub_passes_changes_on(sync_client *a, sync_document *on_a, sync_client *b,
                                      sync_document *on_b)
{
    sync_events *events;
    uint64_t change;
    bool on_disk, on_hub;
    char *text;

    HOLDS(status(on_a), "\"connection\":\"offline\"");
    HOLDS(kept, "\"reason\":\"switched off\"");
    LACKS(kept, "\"pending\":0");
    FAILS(SYNC_CODE_OFFLINE, sync_wait_sync(a, PATIENCE));
    what_waits_can_be_set_aside(a, on_a);

    WORKS(sync_set_offline(a, false));
    WORKS(sync_wait_sync(a, PATIENCE));
    WORKS(sync_wait_sync(b, PATIENCE));
    HOLDS(status(on_a), "\"pending\":0");
    HOLDS(kept, "\"phase\":\"live\"");
    WORKS(sync_outbox(a, NULL, 1, &text));
    HOLDS(keep(text), "{\"items\":[],\"next\":null}");
    WORKS(sync_connection(a, &text));
    HOLDS(keep(text), "{\"connection\":\"online\",\"reason\":null}");

    WORKS(sync_subscribe(b, &events));
    WORKS(sync_insert(on_a, "notes", "shared", "{\"title\": \"from a\"}", NULL, &change));
    WORKS(sync_wait_hub(on_a, change, PATIENCE));
    WORKS(sync_is_safe(on_a, change, &on_disk, &on_hub));
    CHECK(on_disk && on_hub);
    wait_event(events, "{\"collection\":\"notes\",\"id\":\"shared\"}");
    HOLDS(list(on_b), "\"title\":\"from a\"");

    WORKS(sync_show(on_a, "Ada", (const uint8_t *)"\0x", 2));
    wait_event(events, "\"event\":\"peers\"");
    WORKS(sync_peers(on_b, &text));
    HOLDS(keep(text), "\"name\":\"Ada\"");
    HOLDS(text, "{\"$bytes\":\"AHg=\"}");
    WORKS(sync_events_close(events));
    FAILS(SYNC_CODE_CLOSED, sync_next_event(events, 0, &text));
    FAILS(SYNC_CODE_CLOSED, sync_events_close(events));
}

static void a_clash_is_kept_until_it_is_resolved(sync_client *a, sync_document *on_a,
                                                 sync_client *b, sync_document *on_b)
{
    sync_events *events;
    char author[33], *text;
    const char *found;

    WORKS(sync_set_offline(a, true));
    WORKS(sync_set_offline(b, true));
    WORKS(sync_update(on_a, "notes", "shared", "{\"title\": \"one\"}", NULL));
    WORKS(sync_update(on_b, "notes", "shared", "{\"title\": \"two\"}", NULL));
    WORKS(sync_set_offline(a, false));
    WORKS(sync_wait_sync(a, PATIENCE));
    WORKS(sync_subscribe(b, &events));
    WORKS(sync_set_offline(b, false));
    wait_event(events, "\"event\":\"conflict\"");
    WORKS(sync_wait_sync(b, PATIENCE));
    HOLDS(get(on_b, "shared"), "\"conflict\":true");
    WORKS(sync_conflicts(on_b, "notes", 1, &text));
    HOLDS(keep(text), "\"kind\":\"field\"");
    HOLDS(text, "\"more\":0");
    /* Of the versions, the author of "one", which stands before what he wrote. */
    CHECK((found = strstr(text, "\"versions\":")) != NULL);
    CHECK((found = strstr(found, "\"fields\":{\"title\":\"one\"}")) != NULL);
    while (strncmp(found, "\"author\":\"", 10) != 0)
        CHECK(--found > text);
    memcpy(author, found + 10, 32);
    author[32] = 0;
    WORKS(sync_keep(on_b, "notes", "shared", author, NULL));
    WORKS(sync_wait_hub(on_b, 0, PATIENCE));
    HOLDS(get(on_b, "shared"), "\"title\":\"one\"");
    HOLDS(kept, "\"conflict\":false");
    WORKS(sync_conflict_log(on_b, 1, &text));
    HOLDS(keep(text), "\"open\":false");
    HOLDS(text, "\"two\"");
    WORKS(sync_events_close(events));
}

struct told {
    pthread_mutex_t lock;
    pthread_cond_t more;
    sync_document *notes;
    sync_events *events;
    int count;
};

static void listen(void *user, const char *event)
{
    struct told *told = user;
    char *text;
    /* A listener may call the library, and may close its own subscription. */
    WORKS(sync_status(told->notes, &text));
    sync_string_free(text);
    if (strstr(event, "\"set\":\"told\"") == NULL)
        return;
    pthread_mutex_lock(&told->lock);
    told->count++;
    if (told->count == 2)
        WORKS(sync_events_close(told->events));
    pthread_cond_signal(&told->more);
    pthread_mutex_unlock(&told->lock);
}

static void a_listener_is_told_until_it_is_closed(sync_client *client, sync_document *notes)
{
    struct told told = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, NULL, 0};
    sync_events *other;
    char *text, member[16];
    int number;

    told.notes = notes;
    pthread_mutex_lock(&told.lock);
    WORKS(sync_listen(client, listen, &told, &told.events));
    WORKS(sync_listen(client, listen, &told, &other));
    FAILS(SYNC_CODE_MISUSE, sync_next_event(told.events, 0, &text));
    WORKS(sync_events_close(other));
    for (number = 1; number <= 2; number++) {
        snprintf(member, sizeof member, "%d", number);
        WORKS(sync_set_add(notes, "told", member, NULL));
        while (told.count < number)
            pthread_cond_wait(&told.more, &told.lock);
    }
    pthread_mutex_unlock(&told.lock);
    FAILS(SYNC_CODE_CLOSED, sync_events_close(told.events));
    WORKS(sync_set_add(notes, "told", "3", NULL));
    WORKS(sync_wait_disk(notes, 0));
    CHECK(told.count == 2);
}

struct waiting {
    sync_events *events;
    sync_code code;
};

static void *wait_for_ever(void *user)
{
    struct waiting *waiting = user;
    char *text;
    do {
        waiting->code = sync_next_event(waiting->events, UINT64_MAX, &text);
        sync_string_free(text);
    } while (waiting->code == SYNC_CODE_OK);
    return NULL;
}

/* Whoever waits is woken; the second time around by the end of the client. */
static void closing_wakes_whoever_waits(const char *folder)
{
    sync_client *client = open_client(folder, "waits", NULL);
    sync_document *notes = open_notes(client);
    struct waiting waiting;
    pthread_t thread;
    char *text;
    int round;

    for (round = 0; round < 2; round++) {
        WORKS(sync_subscribe(client, &waiting.events));
        FAILS(SYNC_CODE_TIMED_OUT, sync_next_event(waiting.events, 0, &text));
        CHECK(pthread_create(&thread, NULL, wait_for_ever, &waiting) == 0);
        WORKS(round == 0 ? sync_events_close(waiting.events) : sync_close(client));
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(waiting.code == SYNC_CODE_CLOSED);
    }
    FAILS(SYNC_CODE_CLOSED, sync_close(client));
    FAILS(SYNC_CODE_CLOSED, sync_document_open(client, "notes", &notes));
    CHECK(notes == NULL);
    FAILS(SYNC_CODE_CLOSED, sync_wait_sync(client, 0));
    FAILS(SYNC_CODE_CLOSED, sync_events_close(waiting.events));
}

static void what_was_written_is_there_again(const char *folder)
{
    sync_client *client = open_client(folder, "a", NULL);
    sync_document *notes = open_notes(client);
    char *text;

    HOLDS(get(notes, "shared"), "\"title\":");
    WORKS(sync_verify(client, &text));
    HOLDS(keep(text), "{\"items\":[],\"more\":0}");
    WORKS(sync_scrubbed(client, &text));
    HOLDS(keep(text), "\"items\":[]");
    WORKS(sync_damage(client, &text));
    HOLDS(keep(text), "{\"items\":[],\"more\":0}");
    WORKS(sync_close(client));
    /* The document went with its client. */
    FAILS(SYNC_CODE_CLOSED, sync_get(notes, "notes", "shared", &text));
    FAILS(SYNC_CODE_CLOSED, sync_insert(notes, "notes", "late", "{}", NULL, NULL));
    FAILS(SYNC_CODE_CLOSED, sync_wait_disk(notes, 1));
}

int main(int argc, char **argv)
{
    sync_client *a, *b;
    sync_document *on_a, *on_b;
    sync_builder *builder;

    if (argc != 3) {
        fprintf(stderr, "usage: notes FOLDER HUB\n");
        return 2;
    }
    /* Ends the program where it would hang. */
    alarm(4 * PATIENCE / 1000);
    CHECK(strlen(sync_error_message()) == 0);
    CHECK(strchr(sync_version(), '.') != NULL);
    opening_fails_for_a_reason(argv[1]);

    builder = prepare(argv[1], "a", argv[2]);
    WORKS(sync_builder_token(builder, "nobody asks for it"));
    WORKS(sync_builder_offline(builder, true));
    WORKS(sync_builder_repair(builder));
    WORKS(sync_open(builder, &a));
    WORKS(sync_builder_close(builder));
    b = open_client(argv[1], "b", argv[2]);
    on_a = open_notes(a);
    on_b = open_notes(b);

    what_cannot_be_used_changes_nothing(a, on_a);
    fields_of_every_kind_come_back(on_a);
    a_batch_is_made_whole_or_not_at_all(a, on_a);
    records_are_listed_in_pages(on_a);
    the_hub_passes_changes_on(a, on_a, b, on_b);
    a_clash_is_kept_until_it_is_resolved(a, on_a, b, on_b);
    copies_have_what_is_there(argv[1], b, on_b);
    a_listener_is_told_until_it_is_closed(a, on_a);
    closing_wakes_whoever_waits(argv[1]);

    WORKS(sync_close(a));
    FAILS(SYNC_CODE_CLOSED, sync_close(a));
    WORKS(sync_close(b));
    what_was_written_is_there_again(argv[1]);
    keep(NULL);
    puts("all of it works");
    return 0;
}
