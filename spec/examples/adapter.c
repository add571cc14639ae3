/* A whole tiny block manager behind the protocol of spec/protocol.md, in C11.
 *
 * What this is
 *     The same pool as adapter.py, for managers in compiled languages. The requests have a
 *     fixed shape, so each argument is found by its name; no JSON library is needed.
 *
 *         cc -std=c11 -O1 -o adapter adapter.c && ./adapter
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 256, HANDLES = 1 << 16, LINE = 1 << 16, KEYS = LINE / 2 };
enum state { FREE, MUTABLE, STAGED, ACTIVE, INACTIVE };

struct slot {
    enum state state;
    uint64_t key;  /* from STAGED on */
    int holders;   /* live handles */
    uint64_t since; /* when it became free or inactive: the longest there goes first */
};

static struct slot slots[SLOTS];
static int total = -1;           /* -1: no pool is open */
static int slot_of[HANDLES + 1]; /* of handle h1, h2, …; -1 once it is used up */
static int given;
static uint64_t now;
static char events[LINE * 4];

/* ── reading a request ─────────────────────────────────────────────────────────────────── */

static const char *value(const char *line, const char *name)
{
    char pattern[32];
    snprintf(pattern, sizeof pattern, "\"%s\":", name);
    const char *found = strstr(line, pattern);
    return found ? found + strlen(pattern) : "";
}

static bool is(const char *line, const char *name, const char *word)
{
    const char *found = value(line, name);
    return found[0] == '"' && !strncmp(found + 1, word, strlen(word)) && found[1 + strlen(word)] == '"';
}

static int keys_of(const char *line, uint64_t *keys)
{
    const char *at = value(line, "keys");
    int count = 0;
    while (*at && *at != ']') {
        char *end;
        uint64_t key = strtoull(++at, &end, 10); /* past the bracket or the comma */
        if (end == at) break;                    /* an empty list */
        keys[count++] = key;
        at = end;
    }
    return count;
}

/* Give the number of the handle, or 0 if it is not live. */
static int handle_of(const char *line)
{
    const char *found = value(line, "handle");
    char *end;
    if (strncmp(found, "\"h", 2)) return 0;
    long number = strtol(found + 2, &end, 10);
    return *end == '"' && number > 0 && number <= given && slot_of[number] >= 0 ? (int)number : 0;
}

/* ── the pool ──────────────────────────────────────────────────────────────────────────── */

static void tell(const char *kind, uint64_t key)
{
    size_t used = strlen(events);
    snprintf(events + used, sizeof events - used, "%s[\"%s\",%" PRIu64 "]", used ? "," : "", kind, key);
}

static int longest(enum state state)
{
    int found = -1;
    for (int s = 0; s < total; s++)
        if (slots[s].state == state && (found < 0 || slots[s].since < slots[found].since)) found = s;
    return found;
}

static int count(enum state state)
{
    int found = 0;
    for (int s = 0; s < total; s++) found += slots[s].state == state;
    return found;
}

static int registered(uint64_t key)
{
    for (int s = 0; s < total; s++)
        if ((slots[s].state == ACTIVE || slots[s].state == INACTIVE) && slots[s].key == key) return s;
    return -1;
}

static int give(int slot, enum state state)
{
    if (given == HANDLES) {
        fprintf(stderr, "more than %d handles in one pool\n", HANDLES);
        exit(1);
    }
    slots[slot].state = state;
    slots[slot].holders++;
    slot_of[++given] = slot;
    return given;
}

/* Use a handle up; give its slot. */
static int take(int handle)
{
    int slot = slot_of[handle];
    slot_of[handle] = -1;
    slots[slot].holders--;
    return slot;
}

static void rest(int slot, enum state state)
{
    slots[slot].state = state;
    slots[slot].since = ++now;
}

static int allocate_one(void)
{
    int slot = longest(FREE);
    if (slot < 0) {
        slot = longest(INACTIVE);
        tell("Removed", slots[slot].key);
    }
    return give(slot, MUTABLE);
}

static int publish(int handle)
{
    int slot = take(handle), primary = registered(slots[slot].key);
    if (primary < 0) {
        tell("Stored", slots[slot].key);
        return give(slot, ACTIVE);
    }
    rest(slot, FREE); /* somebody was first: share his block */
    return give(primary, ACTIVE);
}

static void release(int handle)
{
    int slot = take(handle);
    if (!slots[slot].holders) rest(slot, slots[slot].state == ACTIVE ? INACTIVE : FREE);
}

/* ── answering ─────────────────────────────────────────────────────────────────────────── */

static const char *id; /* of the request, with the digits that follow it */

static void answer(const char *result)
{
    printf("{\"id\":%.*s,\"ok\":%s,\"events\":[%s]}\n", (int)strspn(id, "0123456789"), id, result, events);
}

static void answer_handle(int handle)
{
    char result[16];
    snprintf(result, sizeof result, "\"h%d\"", handle);
    answer(result);
}

static void refuse(const char *kind)
{
    printf("{\"id\":%.*s,\"error\":\"%s\"}\n", (int)strspn(id, "0123456789"), id, kind);
}

static void answer_list(const int *handles, const uint64_t *keys, int n)
{
    printf("{\"id\":%.*s,\"ok\":[", (int)strspn(id, "0123456789"), id);
    for (int i = 0; i < n; i++) {
        if (i) printf(",");
        if (keys) printf("[%" PRIu64 ",\"h%d\"]", keys[i], handles[i]);
        else printf("\"h%d\"", handles[i]);
    }
    printf("],\"events\":[%s]}\n", events);
}

static void find(const char *line, bool scan)
{
    static uint64_t keys[KEYS];
    static int handles[KEYS];
    int asked = keys_of(line, keys), hits = 0;
    for (int i = 0; i < asked; i++) {
        bool again = false;
        for (int j = 0; scan && j < hits; j++) again |= keys[j] == keys[i];
        int slot = registered(keys[i]);
        if (slot < 0 && !scan) break;
        if (slot < 0 || again) continue;
        keys[hits] = keys[i];
        handles[hits++] = give(slot, ACTIVE);
    }
    answer_list(handles, scan ? keys : NULL, hits);
}

static void allocate(const char *line)
{
    static int handles[SLOTS];
    int n = atoi(value(line, "n"));
    if (n > count(FREE) + count(INACTIVE)) {
        answer("null");
        return;
    }
    for (int i = 0; i < n; i++) handles[i] = allocate_one();
    answer_list(handles, NULL, n);
}

static void open_pool(const char *line)
{
    total = atoi(value(line, "slots"));
    if (total > SLOTS) {
        total = -1;
        refuse("Unsupported");
        return;
    }
    memset(slots, 0, sizeof slots);
    for (int s = 0; s < total; s++) slots[s].since = (uint64_t)s;
    now = (uint64_t)total;
    given = 0;
    answer("null");
}

/* The calls that take a handle, and are refused where the state is not theirs. */
static void by_handle(const char *line)
{
    int handle = handle_of(line);
    enum state state = handle ? slots[slot_of[handle]].state : FREE;
    if (!handle) {
        refuse("StaleHandle");
    } else if (is(line, "op", "release")) {
        release(handle);
        answer("null");
    } else if (is(line, "op", "stage") && state == MUTABLE) {
        int slot = take(handle);
        slots[slot].key = strtoull(value(line, "key"), NULL, 10);
        answer_handle(give(slot, STAGED));
    } else if (is(line, "op", "register") && state == STAGED) {
        answer_handle(publish(handle));
    } else if (is(line, "op", "reset") && (state == MUTABLE || state == STAGED)) {
        answer_handle(give(take(handle), MUTABLE));
    } else {
        refuse("WrongState");
    }
}

int main(void)
{
    static char line[LINE];
    while (fgets(line, sizeof line, stdin)) {
        id = value(line, "id");
        events[0] = 0;
        if (is(line, "op", "hello"))
            answer("{\"name\":\"tiny-c\",\"version\":\"1.0\",\"spec\":\"1.0\",\"capabilities\":"
                   "{\"policies\":[\"lru\"],\"duplicates\":[\"reject\"]}}");
        else if (is(line, "op", "open")) open_pool(line);
        else if (is(line, "op", "close")) { total = -1; answer("null"); }
        else if (is(line, "op", "snapshot") || is(line, "op", "write") || is(line, "op", "read")) refuse("Unsupported");
        else if (total < 0) refuse("Closed");
        else if (is(line, "op", "allocate")) allocate(line);
        else if (is(line, "op", "match")) find(line, false);
        else if (is(line, "op", "scan")) find(line, true);
        else by_handle(line);
        fflush(stdout);
    }
    return 0;
}
