/* The load of the benchmarks: many websocket clients in one thread.
 *
 *   generator PORT PATH KIND [name=number ...]
 *
 * PATH may hold one %d, which becomes the client's number modulo `hubs`. KIND is one of
 *
 *   echo    each client keeps `outstanding` messages under way; a frame that comes back frees the next
 *   rounds  the first client of each hub sends `burst` messages; when all clients of all hubs have got all
 *           of them, the next round begins
 *   join    clients come, and count when their first frame has come
 *   serve   no client but the trivial server: what one client sends goes to all of them. It is there to
 *           show what the generator itself can do.
 *
 * numbers: clients, hubs, outstanding, burst, size (bytes of a message), seconds (measured), warmup
 * (seconds before), connecting (handshakes under way at once). The result is one line of JSON; what was
 * measured lies between the end of the warm-up and the end. Frames are masked with a key of zeros, which
 * RFC 6455 allows and costs the generator nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 1024, BUFFER = 1 << 18, LATENCIES = 1 << 22, MOST_OUTSTANDING = 64 };
/* A round, or an echo, that takes so long has lost frames: they are counted, and it goes on. */
static const double PATIENCE = 5.0;

enum state { CONNECTING, SHAKING, OPEN, GONE };

struct client {
    int fd;
    enum state state;
    bool counted;              /* join: its first frame has come */
    uint8_t *rest;             /* the beginning of a frame whose end has not come */
    size_t rest_size;
    uint8_t *out;              /* what the socket did not take */
    size_t out_size;
    double sent[MOST_OUTSTANDING]; /* echo: when its messages under way were sent, oldest first */
    unsigned first, under_way;
};

static struct {
    long clients, hubs, outstanding, burst, size, connecting;
    double seconds, warmup;
} option = {.clients = 1, .hubs = 1, .outstanding = 1, .burst = 1, .size = 100, .connecting = 64, .seconds = 5, .warmup = 1};

static const char *path, *kind;
static int port, poller;
static struct client *clients;
static long opened, begun, gone, counted;
static uint8_t *message;
static size_t message_size;
static uint8_t buffer[BUFFER * 2];
static uint8_t *serving;
static size_t serving_size;

static float *latencies;
static long latency_count, frames, bytes_in, missing;
static bool measuring;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Frames */

static size_t frame(uint8_t *to, const uint8_t *payload, size_t size, int opcode, bool masked) {
    size_t n = 0;
    uint8_t mask = masked ? 0x80 : 0;
    to[n++] = 0x80 | opcode;
    if (size < 126) {
        to[n++] = mask | size;
    } else if (size < 65536) {
        to[n++] = mask | 126;
        to[n++] = size >> 8;
        to[n++] = size;
    } else {
        to[n++] = mask | 127;
        for (int shift = 56; shift >= 0; shift -= 8) to[n++] = (uint64_t)size >> shift;
    }
    if (masked) {
        memset(to + n, 0, 4);
        n += 4;
    }
    memcpy(to + n, payload, size);
    return n + size;
}

/* How long the frame is that begins here; 0: its header is not whole. */
static size_t frame_size(const uint8_t *data, size_t size, size_t *header) {
    if (size < 2) return 0;
    size_t payload = data[1] & 0x7f, n = 2;
    if (payload == 126) {
        if (size < 4) return 0;
        payload = (size_t)data[2] << 8 | data[3];
        n = 4;
    } else if (payload == 127) {
        if (size < 10) return 0;
        payload = 0;
        for (int i = 2; i < 10; i++) payload = payload << 8 | data[i];
        n = 10;
    }
    if (data[1] & 0x80) n += 4;
    *header = n;
    return n + payload;
}

/* Sockets */

static void watch(struct client *client, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(poller, operation, client->fd, &event)) fail("epoll_ctl");
}

static void drop(struct client *client) {
    if (client->state == GONE) return;
    close(client->fd);
    client->state = GONE;
    gone++;
}

static void put(struct client *client, const uint8_t *data, size_t size) {
    if (client->state == GONE) return;
    if (!client->out_size) {
        ssize_t taken = send(client->fd, data, size, MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN) {
            drop(client);
            return;
        }
        if (taken > 0) {
            data += taken;
            size -= taken;
        }
        if (!size) return;
        watch(client, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    client->out = realloc(client->out, client->out_size + size);
    memcpy(client->out + client->out_size, data, size);
    client->out_size += size;
}

static void put_rest(struct client *client) {
    ssize_t taken = send(client->fd, client->out, client->out_size, MSG_NOSIGNAL);
    if (taken < 0) {
        if (errno != EAGAIN) drop(client);
        return;
    }
    client->out_size -= taken;
    memmove(client->out, client->out + taken, client->out_size);
    if (!client->out_size) watch(client, EPOLL_CTL_MOD, EPOLLIN);
}

static void unblock(int fd) {
    int yes = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static struct sockaddr_in address(void) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void begin(struct client *client) {
    struct sockaddr_in to = address();
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0) fail("socket");
    unblock(client->fd);
    client->state = CONNECTING;
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) fail("connect");
    watch(client, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    begun++;
}

static void shake(struct client *client) {
    char request[512], where[256];
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        errno = error;
        fail("connect");
    }
    snprintf(where, sizeof where, path, (int)((client - clients) % option.hubs));
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                        where, port);
    client->state = SHAKING;
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
    put(client, (uint8_t *)request, size);
}

/* What comes in: calls `got` for each data frame. */

static void got(struct client *client, double at);
static void served(const uint8_t *payload, size_t size);
static void serve_all(void);

static size_t take_frames(struct client *client, uint8_t *data, size_t size, double at) {
    size_t done = 0, header, whole;
    while ((whole = frame_size(data + done, size - done, &header)) && done + whole <= size) {
        int opcode = data[done] & 0x0f;
        if (opcode == 8) {
            drop(client);
            return size;
        }
        if (opcode == 9) {
            uint8_t pong[256];
            put(client, pong, frame(pong, data + done + header, whole - header, 10, true));
        } else if (opcode <= 2) {
            if (*kind == 's')
                served(data + done + header, whole - header);
            else
                got(client, at);
        }
        done += whole;
        if (client->state == GONE) return size;
    }
    return done;
}

static void take(struct client *client) {
    size_t had = client->rest_size;
    if (had) memcpy(buffer, client->rest, had);
    ssize_t came = recv(client->fd, buffer + had, BUFFER, 0);
    if (came == 0 || (came < 0 && errno != EAGAIN)) {
        drop(client);
        return;
    }
    if (came < 0) return;
    size_t size = had + came, done = 0;
    if (measuring) bytes_in += came;
    if (client->state == SHAKING) {
        uint8_t *end = memmem(buffer, size, "\r\n\r\n", 4);
        if (end) {
            if (*kind == 's') {
                const char *accept =
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                put(client, (const uint8_t *)accept, strlen(accept));
            } else if (!memmem(buffer, end - buffer, " 101 ", 5)) {
                fprintf(stderr, "not a websocket: %.*s\n", (int)(end - buffer), buffer);
                exit(1);
            }
            client->state = OPEN;
            opened++;
            done = end + 4 - buffer;
        }
    }
    if (client->state == OPEN) done += take_frames(client, buffer + done, size - done, now());
    if (serving_size) serve_all();
    if (client->state == GONE) return;
    client->rest_size = size - done;
    if (client->rest_size) {
        if (client->rest_size > BUFFER) {
            fprintf(stderr, "a frame of more than %d bytes\n", BUFFER);
            exit(1);
        }
        client->rest = realloc(client->rest, client->rest_size);
        memcpy(client->rest, buffer + done, client->rest_size);
    }
}

/* The kinds of load */

static void say(struct client *client, double at) {
    client->sent[(client->first + client->under_way++) % MOST_OUTSTANDING] = at;
    put(client, message, message_size);
}

static void note(double since, double at) {
    if (measuring && latency_count < LATENCIES) latencies[latency_count++] = at - since;
}

static void got(struct client *client, double at) {
    if (measuring) frames++;
    if (*kind == 'j' && !client->counted) {
        client->counted = true;
        counted++;
    }
    if (*kind == 'e') {
        if (!client->under_way) return; /* a message that came twice */
        note(client->sent[client->first % MOST_OUTSTANDING], at);
        client->first++;
        client->under_way--;
        say(client, at);
    } else if (*kind == 'r') {
        counted++;
    }
}

/* What came in one read goes to each client as one write, as in the servers that we measure. */
static void served(const uint8_t *payload, size_t size) {
    serving = realloc(serving, serving_size + size + 16);
    serving_size += frame(serving + serving_size, payload, size, 1, false);
}

static void serve_all(void) {
    for (long i = 0; i < begun; i++)
        if (clients[i].state == OPEN) put(&clients[i], serving, serving_size);
    serving_size = 0;
}

static void turn(int timeout) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(poller, events, EVENTS, timeout);
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (client->state == GONE) continue;
        if (client->state == CONNECTING) {
            shake(client);
            continue;
        }
        if (events[i].events & EPOLLOUT && client->out_size) put_rest(client);
        if (client->state != GONE && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take(client);
    }
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    return latency_count ? latencies[(long)((latency_count - 1) * share)] * 1e6 : 0;
}

static void connect_all(void) {
    double last = now();
    while (opened < option.clients || (*kind == 'j' && counted < option.clients)) {
        long ready = *kind == 'j' ? counted : opened;
        while (begun < option.clients && begun - ready < option.connecting) begin(&clients[begun]);
        turn(100);
        if ((*kind == 'j' ? counted : opened) != ready) last = now();
        if (now() - last > 30 || gone) {
            fprintf(stderr, "%ld of %ld clients came in, %ld were closed\n", opened, option.clients, gone);
            exit(1);
        }
    }
}

static void run_echo(double end) {
    double at = now(), looked = at;
    for (long i = 0; i < option.clients; i++)
        while (clients[i].under_way < option.outstanding) say(&clients[i], at);
    while ((at = now()) < end) {
        turn(10);
        if (at - looked < 1) continue;
        looked = at;
        for (long i = 0; i < option.clients; i++) {
            struct client *client = &clients[i];
            if (client->state == GONE || at - client->sent[client->first % MOST_OUTSTANDING] < PATIENCE) continue;
            missing += client->under_way; /* what it waits for was lost */
            client->first += client->under_way;
            client->under_way = 0;
            while (client->under_way < option.outstanding) say(client, at);
        }
    }
}

static void run_rounds(double end) {
    long wanted = option.clients * option.burst;
    while (now() < end) {
        double since = now();
        counted = 0;
        for (long hub = 0; hub < option.hubs; hub++) {
            uint8_t *burst = malloc(message_size * option.burst);
            for (long k = 0; k < option.burst; k++) memcpy(burst + k * message_size, message, message_size);
            put(&clients[hub], burst, message_size * option.burst);
            free(burst);
        }
        while (counted < wanted && now() - since < PATIENCE) turn(10);
        if (counted < wanted) missing += wanted - counted;
        note(since, now());
    }
}

static void serve(void) {
    struct sockaddr_in here = address();
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 1024)) fail("listen");
    unblock(listener);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    while (true) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) {
                int fd = accept(listener, NULL, NULL);
                if (fd < 0 || begun == option.clients) continue;
                client = &clients[begun++];
                *client = (struct client){.fd = fd, .state = SHAKING};
                unblock(fd);
                watch(client, EPOLL_CTL_ADD, EPOLLIN);
                continue;
            }
            if (client->state == GONE) continue;
            if (events[i].events & EPOLLOUT && client->out_size) put_rest(client);
            if (client->state != GONE && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take(client);
        }
    }
}

static void read_options(int count, char **words) {
    struct { const char *name; long *number; double *time; } known[] = {
        {"clients", &option.clients, NULL},  {"hubs", &option.hubs, NULL},
        {"outstanding", &option.outstanding, NULL}, {"burst", &option.burst, NULL},
        {"size", &option.size, NULL},        {"connecting", &option.connecting, NULL},
        {"seconds", NULL, &option.seconds},  {"warmup", NULL, &option.warmup},
    };
    for (int i = 0; i < count; i++) {
        char *value = strchr(words[i], '=');
        bool found = false;
        for (size_t k = 0; value && k < sizeof known / sizeof *known; k++) {
            if (strncmp(words[i], known[k].name, value - words[i]) || known[k].name[value - words[i]]) continue;
            if (known[k].number) *known[k].number = atol(value + 1);
            else *known[k].time = atof(value + 1);
            found = true;
        }
        if (!found) {
            fprintf(stderr, "unknown option %s\n", words[i]);
            exit(2);
        }
    }
}

int main(int count, char **words) {
    if (count < 4) {
        fprintf(stderr, "usage: %s PORT PATH KIND [name=number ...]\n", words[0]);
        return 2;
    }
    port = atoi(words[1]);
    path = words[2];
    kind = words[3];
    read_options(count - 4, words + 4);
    if (option.outstanding > MOST_OUTSTANDING || option.hubs > option.clients) {
        fprintf(stderr, "at most %d outstanding, and at most as many hubs as clients\n", MOST_OUTSTANDING);
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(0);
    clients = calloc(option.clients, sizeof *clients);
    latencies = malloc(LATENCIES * sizeof *latencies);
    uint8_t *payload = malloc(option.size);
    memset(payload, 'x', option.size);
    message = malloc(option.size + 16);
    message_size = frame(message, payload, option.size, 1, true);
    if (*kind == 's') serve();

    double start = now();
    connect_all();
    double connected = now() - start;
    if (*kind == 'j') {
        printf("{\"clients\": %ld, \"seconds\": %.4f, \"rate\": %.1f}\n", counted, connected, counted / connected);
        return 0;
    }
    void (*run)(double) = *kind == 'e' ? run_echo : run_rounds;
    double quiet = now();
    while (now() - quiet < 0.5) turn(50); /* what joining set off */
    run(now() + option.warmup);
    missing = 0;
    measuring = true;
    start = now();
    run(start + option.seconds);
    double took = now() - start;
    qsort(latencies, latency_count, sizeof *latencies, compare);
    printf("{\"clients\": %ld, \"frames\": %ld, \"seconds\": %.4f, \"rate\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"missing\": %ld, \"closed\": %ld, \"megabytes\": %.1f}\n",
           opened, frames, took, frames / took, percentile(0.5), percentile(0.99), missing, gone, bytes_in / 1e6);
    return 0;
}
