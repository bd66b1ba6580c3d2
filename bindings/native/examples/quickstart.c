/* The lines of the README. */

#include "sync_native.h"
#include <stdio.h>

int main(void)
{
    sync_builder *builder;
    sync_client *client;
    sync_document *notes;
    uint64_t change;
    char *id, *list;

    sync_builder_new("quickstart-data", &builder);
    sync_builder_document(builder, "notes"); /* sync_builder_hub(builder, "http://127.0.0.1:8787") */
    if (sync_open(builder, &client) != SYNC_CODE_OK) {
        fprintf(stderr, "%s\n", sync_error_message());
        return 1;
    }
    sync_document_open(client, "notes", &notes);
    sync_insert(notes, "notes", NULL, "{\"title\": \"Buy milk\", \"tags\": {\"$set\": [\"home\"]}}", &id, &change);
    sync_wait_disk(notes, change); /* or: sync_wait_hub(notes, change, 10000), and sync_subscribe */
    sync_update(notes, "notes", id, "{\"title\": \"Buy oat milk\"}", NULL);
    sync_list(notes, "notes", NULL, 100, &list);
    puts(list);
    sync_string_free(list);
    sync_string_free(id);
    return sync_close(client);
}
