/*
 * Two clients of one hub: what was, taking it back, the feed of what changes, and where tokens come from.
 * Arguments: a folder, and the address of a hub that serves.
 */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <unistd.h>

#include "check.h"

static const char *feed(sync_document *notes, uint64_t after, const char *collections)
{
    char *text;
    WORKS(sync_feed(notes, after, collections, SYNC_LIST_MAX, &text));
    return keep(text);
}

static uint64_t number_behind(const char *text, const char *key)
{
    const char *found = strstr(text, key);
    CHECK(found != NULL);
    return strtoull(found + strlen(key), NULL, 10);
}

static void nothing_is_kept_that_nobody_asked_for(const char *folder)
{
    sync_client *client = open_client(folder, "plain", NULL);
    sync_document *notes = open_notes(client);
    sync_past *past = (sync_past *)&past;
    uint64_t number = 7;
    size_t undos = 7, redos = 7;
    char *text;

    WORKS(sync_insert(notes, "notes", "x", "{\"title\": \"a\"}", NULL, NULL));
    FAILS(SYNC_CODE_MISUSE, sync_feed_begin(notes, &number));
    CHECK(number == 0);
    FAILS(SYNC_CODE_MISUSE, sync_feed(notes, 0, NULL, 1, &text));
    FAILS(SYNC_CODE_MISUSE, sync_wait_feed(notes, 0, NULL, 1, 0, &text));
    number = 7;
    WORKS(sync_undo(notes, &number));
    CHECK(number == 0);
    WORKS(sync_undo_depth(notes, &undos, &redos));
    CHECK(undos == 0 && redos == 0);
    WORKS(sync_undo_depth(notes, NULL, NULL));
    FAILS(SYNC_CODE_NOT_FOUND, sync_revert(notes, "{}", &text));
    FAILS(SYNC_CODE_NOT_FOUND, sync_rewind(notes, 1, &text));
    FAILS(SYNC_CODE_NOT_FOUND, sync_diff(notes, 1, 1, &text));
    FAILS(SYNC_CODE_NOT_FOUND, sync_past_open(notes, 1, &past));
    CHECK(past == NULL);
    FAILS(SYNC_CODE_NOT_FOUND, sync_checkpoint_drop(notes, 1));
    WORKS(sync_checkpoints(notes, 1, &text));
    HOLDS(keep(text), "{\"checkpoints\":[],\"more\":0}");
    WORKS(sync_close(client));
}

static void changes_are_undone_and_redone(sync_document *notes)
{
    uint64_t change;
    size_t undos, redos;

    WORKS(sync_insert(notes, "notes", "x", "{\"title\": \"a\", \"seen\": {\"$counter\": 1}}", NULL, NULL));
    WORKS(sync_update(notes, "notes", "x", "{\"title\": \"b\"}", NULL));
    WORKS(sync_count(notes, "notes", "x", "[\"seen\"]", 4, NULL));
    WORKS(sync_undo_depth(notes, &undos, &redos));
    CHECK(undos == 3 && redos == 0);
    WORKS(sync_undo(notes, &change));
    CHECK(change == 4);
    WORKS(sync_wait_disk(notes, change));
    HOLDS(get(notes, "x"), "{\"$counter\":1}");
    WORKS(sync_undo(notes, NULL));
    HOLDS(get(notes, "x"), "\"title\":\"a\"");
    WORKS(sync_undo_depth(notes, &undos, &redos));
    CHECK(undos == 1 && redos == 2);
    WORKS(sync_redo(notes, &change));
    CHECK(change == 6);
    WORKS(sync_redo(notes, NULL));
    HOLDS(get(notes, "x"), "\"title\":\"b\"");
    HOLDS(kept, "{\"$counter\":5}");
    WORKS(sync_redo(notes, &change));
    CHECK(change == 0);
    WORKS(sync_undo_purge(notes));
    WORKS(sync_undo_depth(notes, &undos, &redos));
    CHECK(undos == 0 && redos == 0);
    FAILS(SYNC_CODE_CLOSED, sync_undo(NULL, &change));
}

struct follower {
    sync_document *notes;
    uint64_t after;
    char *text;
};

static void *follow(void *user)
{
    struct follower *follower = user;
    WORKS(sync_wait_feed(follower->notes, follower->after, "[\"followed\"]", 10, PATIENCE, &follower->text));
    return NULL;
}

static void a_feed_tells_what_changed(sync_document *notes)
{
    struct follower follower = {notes, 0, NULL};
    uint64_t begin, end;
    pthread_t thread;
    char *text;

    WORKS(sync_feed_begin(notes, &begin));
    WORKS(sync_feed_end(notes, &end));
    WORKS(sync_insert(notes, "fed", "x", "{\"title\": \"a\"}", NULL, NULL));
    WORKS(sync_update(notes, "fed", "x", "{\"title\": null}", NULL));
    WORKS(sync_unset(notes, "fed", "x", "[\"title\"]", NULL));
    WORKS(sync_set_add(notes, "tags", "\"t\"", NULL));
    WORKS(sync_wait_disk(notes, 0));
    HOLDS(feed(notes, end, NULL), "\"new\":{\"$map\":{\"title\":\"a\"}},\"path\":[],"
                                  "\"place\":{\"collection\":\"fed\",\"id\":\"x\"}}");
    HOLDS(kept, "\"new\":null,\"old\":\"a\",\"path\":[\"title\"]");
    HOLDS(kept, "\"old\":null,\"path\":[\"title\"]");
    HOLDS(kept, "\"place\":{\"set\":\"tags\"}");
    HOLDS(kept, "\"has_more\":false");
    LACKS(feed(notes, end, "[\"fed\"]"), "tags");
    HOLDS(kept, "\"title\"");
    HOLDS(feed(notes, end, "[\"others\"]"), "\"entries\":[]");
    CHECK(number_behind(kept, "\"next\":") > end);
    WORKS(sync_feed(notes, end, NULL, 1, &text));
    HOLDS(keep(text), "\"has_more\":true");
    LACKS(text, "tags");
    FAILS(SYNC_CODE_MISUSE, sync_feed(notes, end, NULL, 0, &text));
    FAILS(SYNC_CODE_MISUSE, sync_feed(notes, end, NULL, SYNC_LIST_MAX + 1, &text));
    FAILS(SYNC_CODE_JSON, sync_feed(notes, end, "\"fed\"", 1, &text));
    FAILS(SYNC_CODE_GONE, sync_feed(notes, UINT64_MAX, NULL, 1, &text));
    FAILS(SYNC_CODE_MISUSE, sync_feed_end(notes, NULL));

    /* Whoever waits hears of it, and of nothing else. */
    WORKS(sync_feed_end(notes, &follower.after));
    WORKS(sync_wait_feed(notes, follower.after, NULL, 1, 0, &text));
    HOLDS(keep(text), "\"entries\":[]");
    CHECK(pthread_create(&thread, NULL, follow, &follower) == 0);
    WORKS(sync_insert(notes, "notes", "y", "{\"title\": \"not wanted\"}", NULL, NULL));
    WORKS(sync_insert(notes, "followed", "y", "{\"title\": \"wanted\"}", NULL, NULL));
    CHECK(pthread_join(thread, NULL) == 0);
    HOLDS(keep(follower.text), "\"collection\":\"followed\"");
    LACKS(kept, "not wanted");

    WORKS(sync_feed_purge(notes));
    FAILS(SYNC_CODE_GONE, sync_feed(notes, begin, NULL, 1, &text));
    CHECK(text == NULL);
    WORKS(sync_feed_begin(notes, &begin));
    HOLDS(feed(notes, begin, NULL), "\"entries\":[]");
}

static void a_checkpoint_is_read_compared_and_come_back_to(sync_document *notes)
{
    uint64_t first, second;
    sync_past *past;
    char long_label[258], which[64], *text;

    memset(long_label, 'x', 257);
    long_label[257] = 0;
    FAILS(SYNC_CODE_MISUSE, sync_checkpoint(notes, long_label, &first));
    WORKS(sync_checkpoint(notes, "before", &first));
    WORKS(sync_update(notes, "notes", "x", "{\"title\": \"later\"}", NULL));
    WORKS(sync_insert(notes, "notes", "z", "{}", NULL, NULL));
    WORKS(sync_checkpoint(notes, "between", &second));
    CHECK(second != first);
    WORKS(sync_remove(notes, "notes", "y", NULL));
    WORKS(sync_checkpoints(notes, 1, &text));
    HOLDS(keep(text), "\"label\":\"before\"");
    HOLDS(text, "\"whole\":true");
    HOLDS(text, "\"more\":1");

    WORKS(sync_diff(notes, first, SYNC_LIST_MAX, &text));
    HOLDS(keep(text), "{\"new\":null,\"old\":{\"title\":\"not wanted\"},"
                      "\"place\":{\"collection\":\"notes\",\"id\":\"y\"}}");
    HOLDS(text, "\"title\":\"later\"");
    HOLDS(text, "{\"new\":{},\"old\":null,\"place\":{\"collection\":\"notes\",\"id\":\"z\"}}");
    HOLDS(text, "\"more\":0");
    WORKS(sync_rewind(notes, first, &text));
    HOLDS(keep(text), "\"changes\":3");

    WORKS(sync_past_open(notes, first, &past));
    WORKS(sync_past_get(past, "notes", "x", &text));
    HOLDS(keep(text), "\"title\":\"b\"");
    FAILS(SYNC_CODE_NOT_FOUND, sync_past_get(past, "notes", "z", &text));
    FAILS(SYNC_CODE_MISUSE, sync_past_get(past, "notes", "", &text));
    WORKS(sync_past_list(past, "notes", NULL, 1, &text));
    HOLDS(keep(text), "\"next\":\"x\"");
    WORKS(sync_past_list(past, "notes", "x", 10, &text));
    HOLDS(keep(text), "not wanted");
    HOLDS(text, "\"next\":null");
    FAILS(SYNC_CODE_MISUSE, sync_past_list(past, "notes", NULL, 0, &text));
    FAILS(SYNC_CODE_CLOSED, sync_document_close((sync_document *)past));
    WORKS(sync_past_close(past));
    FAILS(SYNC_CODE_CLOSED, sync_past_close(past));
    FAILS(SYNC_CODE_CLOSED, sync_past_get(past, "notes", "x", &text));

    FAILS(SYNC_CODE_JSON, sync_revert(notes, "{\"sinze\": 1}", &text));
    HOLDS(sync_error_message(), "until_ms");
    FAILS(SYNC_CODE_NOT_FOUND, sync_revert(notes, "{\"since\": 77}", &text));
    WORKS(sync_revert(notes, "{\"until_ms\": 5}", &text));
    HOLDS(keep(text), "{\"changes\":[],\"more\":0,\"unclear\":[]}");
    snprintf(which, sizeof which, "{\"since\": %d}", (int)second);
    WORKS(sync_revert(notes, which, &text));
    WORKS(sync_wait_disk(notes, number_behind(keep(text), "\"changes\":[")));
    HOLDS(get(notes, "y"), "not wanted");
    HOLDS(get(notes, "x"), "\"title\":\"later\"");
    snprintf(which, sizeof which, "{\"since\": %d}", (int)first);
    WORKS(sync_revert(notes, which, &text));
    HOLDS(keep(text), "\"unclear\":[]");
    HOLDS(get(notes, "x"), "\"title\":\"b\"");
    FAILS(SYNC_CODE_NOT_FOUND, sync_get(notes, "notes", "z", &text));

    WORKS(sync_checkpoint_drop(notes, second));
    FAILS(SYNC_CODE_NOT_FOUND, sync_checkpoint_drop(notes, second));
    FAILS(SYNC_CODE_NOT_FOUND, sync_rewind(notes, second, &text));
    WORKS(sync_rewind(notes, first, &text));
    sync_string_free(text);
}

static void what_one_wrote_is_taken_back(sync_client *a, sync_document *on_a, sync_client *b, sync_document *on_b)
{
    char which[80], author[33], *text;
    const char *found;

    WORKS(sync_wait_sync(a, PATIENCE));
    WORKS(sync_wait_sync(b, PATIENCE));
    WORKS(sync_update(on_b, "notes", "x", "{\"title\": \"vandal\"}", NULL));
    WORKS(sync_insert(on_b, "notes", "junk", "{}", NULL, NULL));
    WORKS(sync_wait_sync(b, PATIENCE));
    CHECK((found = strstr(status(on_b), "\"replica\":\"")) != NULL);
    memcpy(author, found + 11, 32);
    author[32] = 0;
    do
        WORKS(sync_list(on_a, "notes", NULL, SYNC_LIST_MAX, &text));
    while (strstr(keep(text), "\"junk\"") == NULL);
    WORKS(sync_update(on_a, "notes", "y", "{\"title\": \"own\"}", NULL));
    snprintf(which, sizeof which, "{\"author\": \"%s\"}", author);
    WORKS(sync_revert(on_a, which, &text));
    WORKS(sync_wait_hub(on_a, number_behind(keep(text), "\"changes\":["), PATIENCE));
    HOLDS(get(on_a, "x"), "\"title\":\"b\"");
    HOLDS(get(on_a, "y"), "\"title\":\"own\"");
    FAILS(SYNC_CODE_NOT_FOUND, sync_get(on_a, "notes", "junk", &text));
    WORKS(sync_checkpoints_purge(on_a));
    FAILS(SYNC_CODE_NOT_FOUND, sync_revert(on_a, which, &text));
}

struct giver {
    pthread_mutex_t lock;
    int calls;
    bool gives;
};

static bool give(void *user, char *token)
{
    struct giver *giver = user;
    bool gives;

    pthread_mutex_lock(&giver->lock);
    snprintf(token, SYNC_TOKEN_BYTES_MAX, "token %d", ++giver->calls);
    gives = giver->gives;
    pthread_mutex_unlock(&giver->lock);
    return gives;
}

static void tokens_come_from_a_function_until_the_client_is_closed(const char *folder, const char *hub)
{
    struct giver *giver = calloc(1, sizeof *giver);
    sync_builder *builder = prepare(folder, "tokens", hub);
    sync_client *client;
    sync_events *events;

    CHECK(giver != NULL && pthread_mutex_init(&giver->lock, NULL) == 0);
    FAILS(SYNC_CODE_MISUSE, sync_builder_token_source(builder, NULL, giver));
    WORKS(sync_builder_token_source(builder, give, giver));
    WORKS(sync_builder_offline(builder, true));
    WORKS(sync_open(builder, &client));
    CHECK(giver->calls == 0);
    WORKS(sync_subscribe(client, &events));
    WORKS(sync_set_offline(client, false));
    wait_event(events, "the function that gives tokens gave none");
    pthread_mutex_lock(&giver->lock);
    giver->gives = true;
    CHECK(giver->calls > 0);
    pthread_mutex_unlock(&giver->lock);
    WORKS(sync_reconnect(client));
    wait_event(events, "\"connection\":\"online\"");
    WORKS(sync_wait_sync(client, PATIENCE));
    WORKS(sync_close(client));
    /* Nobody calls it from here on. */
    pthread_mutex_destroy(&giver->lock);
    free(giver);
    WORKS(sync_builder_close(builder));
}

int main(int argc, char **argv)
{
    sync_client *a, *b;
    sync_document *on_a, *on_b;
    sync_builder *builder;
    sync_past *past;
    uint64_t number;
    char *text;

    if (argc != 3) {
        fprintf(stderr, "usage: past FOLDER HUB\n");
        return 2;
    }
    /* Ends the program where it would hang. */
    alarm(4 * PATIENCE / 1000);
    nothing_is_kept_that_nobody_asked_for(argv[1]);

    builder = prepare(argv[1], "a", argv[2]);
    WORKS(sync_builder_keep_checkpoints(builder, 0, 0, 0, 0));
    WORKS(sync_builder_keep_undo(builder, 0, 0));
    WORKS(sync_builder_keep_feed(builder, 1 << 20, 3600000));
    WORKS(sync_open(builder, &a));
    WORKS(sync_builder_close(builder));
    FAILS(SYNC_CODE_CLOSED, sync_builder_keep_undo(builder, 0, 0));
    b = open_client(argv[1], "b", argv[2]);
    on_a = open_notes(a);
    on_b = open_notes(b);

    changes_are_undone_and_redone(on_a);
    a_feed_tells_what_changed(on_a);
    a_checkpoint_is_read_compared_and_come_back_to(on_a);
    what_one_wrote_is_taken_back(a, on_a, b, on_b);
    tokens_come_from_a_function_until_the_client_is_closed(argv[1], argv[2]);

    /* What is of the past goes with the client. */
    WORKS(sync_checkpoint(on_a, "last", &number));
    WORKS(sync_past_open(on_a, number, &past));
    WORKS(sync_document_close(on_a));
    WORKS(sync_past_get(past, "notes", "x", &text));
    HOLDS(keep(text), "\"title\":\"b\"");
    WORKS(sync_close(a));
    FAILS(SYNC_CODE_CLOSED, sync_past_get(past, "notes", "x", &text));
    WORKS(sync_close(b));
    keep(NULL);
    puts("all of it works");
    return 0;
}
