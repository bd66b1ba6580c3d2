/*
 * What the programs here share: calls that must work or fail, and what they read.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync_native.h"

/* Far longer than anything here takes. */
#define PATIENCE 120000

static inline void stop(int line, const char *what, const char *more)
{
    fprintf(stderr, "line %d: %s: %s\n", line, what, more);
    exit(1);
}

#define CHECK(what) ((what) ? (void)0 : stop(__LINE__, #what, sync_error_message()))
#define WORKS(call) CHECK((call) == SYNC_CODE_OK)
#define FAILS(code, call) fails(__LINE__, #call, code, call)
#define HOLDS(text, part) (strstr(text, part) ? (void)0 : stop(__LINE__, part " is not in", text))
#define LACKS(text, part) (strstr(text, part) ? stop(__LINE__, part " is in", text) : (void)0)

static inline void fails(int line, const char *what, sync_code expected, sync_code found)
{
    if (found != expected || strlen(sync_error_message()) < 10) {
        fprintf(stderr, "expected %d, found %d\n", (int)expected, (int)found);
        stop(line, what, sync_error_message());
    }
}

static inline sync_builder *prepare(const char *folder, const char *name, const char *hub)
{
    char path[4096];
    sync_builder *builder;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    WORKS(sync_builder_new(path, &builder));
    WORKS(sync_builder_document(builder, "notes"));
    WORKS(sync_builder_agent(builder, "a program in C"));
    if (hub)
        WORKS(sync_builder_hub(builder, hub));
    return builder;
}

static inline sync_client *open_client(const char *folder, const char *name, const char *hub)
{
    sync_builder *builder = prepare(folder, name, hub);
    sync_client *client;
    WORKS(sync_open(builder, &client));
    WORKS(sync_builder_close(builder));
    return client;
}

static inline sync_document *open_notes(sync_client *client)
{
    sync_document *document;
    WORKS(sync_document_open(client, "notes", &document));
    return document;
}

/* A text that was read is looked at until the next one is. */
static char *kept;

static inline const char *keep(char *text)
{
    if (text != kept)
        sync_string_free(kept);
    kept = text;
    return text;
}

static inline const char *get(sync_document *notes, const char *id)
{
    char *text;
    WORKS(sync_get(notes, "notes", id, &text));
    return keep(text);
}

static inline const char *list(sync_document *notes)
{
    char *text;
    WORKS(sync_list(notes, "notes", NULL, SYNC_LIST_MAX, &text));
    return keep(text);
}

static inline const char *status(sync_document *notes)
{
    char *text;
    WORKS(sync_status(notes, &text));
    return keep(text);
}

/* Waits until an event has this part. */
static inline void wait_event(sync_events *events, const char *part)
{
    char *text;
    bool is_it;
    do {
        WORKS(sync_next_event(events, PATIENCE, &text));
        is_it = strstr(text, part) != NULL;
        sync_string_free(text);
    } while (!is_it);
}

#endif
