/* The load of the benchmarks: many websocket clients in one thread.
 *
 *   generator PORT PATH KIND [name=value ...]
 *
 * PATH may hold one %d, which becomes the client's number modulo `hubs`. KIND is one of
 *
 *   echo    each client keeps `outstanding` messages under way; a frame that comes back frees the next
 *   rounds  one client of each hub sends `burst` messages; when all clients of all hubs have got all
 *           of them, the next round begins; `ahead` rounds may be under way at once
 *   join    clients come, and count when their first frame has come
 *   hold    clients come and stay, reading, until this program is ended; one line says that all are there
 *   serve   no client but the trivial server: what one client sends goes to all of them. It is there to
 *           show what the generator itself can do.
 *
 * numbers: clients, hubs, outstanding, burst, ahead, window (of a round, so many hubs are under way at once;
 * 0: all), size (bytes of a message), seconds (measured), warmup
 * (seconds before), rounds (measure so many, and not by time), pause (seconds from one round to the next),
 * patience (seconds after which a round has lost what is missing), connecting (handshakes under way at
 * once), stalled (so many of the clients never read), deliveries (1: latencies are of each delivery, not of
 * each round), voice_port (see voice).
 *
 * texts, for servers with a protocol of their own inside of websocket messages: hello (sent after the
 * handshake), ready (the frame with this beginning says that a client is in), prefix and suffix (around
 * the bytes of a message), counts (only frames with this beginning count), ping and pong (the one is
 * answered with the other). voice: the path of one more client, at voice_port, which speaks for all others.
 *
 * The line "measuring" tells that the warm-up is over. The result is one line of JSON; `busy` is this
 * program's share of its core. Frames are masked with a key of zeros, which RFC 6455 allows and costs the
 * generator nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 1024, BUFFER = 1 << 18, LATENCIES = 1 << 22, MOST_OUTSTANDING = 64 };
/* From one address there are some 28,000 ports. */
enum { CLIENTS_AN_ADDRESS = 20000 };

enum state { CONNECTING, SHAKING, OPEN, GONE };

struct client {
    int fd;
    enum state state;
    bool ready;                /* it is in */
    bool counted;              /* join: its first frame has come */
    uint8_t *rest;             /* the beginning of a frame whose end has not come */
    size_t rest_size;
    uint8_t *out;              /* what the socket did not take */
    size_t out_size;
    double sent[MOST_OUTSTANDING]; /* echo: when its messages under way were sent, oldest first */
    unsigned first, under_way;
};

static struct {
    long clients, hubs, outstanding, burst, ahead, window, size, rounds, connecting, stalled, deliveries, voice_port;
    double seconds, warmup, pause, patience;
    const char *hello, *ready, *prefix, *suffix, *counts, *ping, *pong, *voice;
} option = {
    .clients = 1, .hubs = 1, .outstanding = 1, .burst = 1, .ahead = 1, .size = 100, .connecting = 64,
    .seconds = 5, .warmup = 1, .patience = 5,
    .hello = "", .ready = "", .prefix = "", .suffix = "", .counts = "", .ping = "", .pong = "", .voice = "",
};

static const char *path, *kind;
static int port, poller;
static struct client *clients;
static long coming, opened, begun, gone, counted;
static uint8_t *message, *burst;
static size_t message_size, burst_size;
static uint8_t buffer[BUFFER * 2];
static uint8_t *serving;
static size_t serving_size;

static float *latencies;
static long latency_count, frames, bytes_in, missing, rounds;
static double round_began;
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

static struct sockaddr_in address(int at, int host) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(at), .sin_addr.s_addr = htonl(INADDR_LOOPBACK + host)};
}

/* The one client that is no listener. */
static bool is_voice(const struct client *client) { return *option.voice && client == clients + option.clients; }

static void begin(struct client *client) {
    struct sockaddr_in to = address(is_voice(client) ? option.voice_port : port, 0);
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0) fail("socket");
    unblock(client->fd);
    if (client - clients >= CLIENTS_AN_ADDRESS) {
        struct sockaddr_in from = address(0, (client - clients) / CLIENTS_AN_ADDRESS);
        int yes = 1;
        setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        if (bind(client->fd, (struct sockaddr *)&from, sizeof from)) fail("bind");
    }
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
    snprintf(where, sizeof where, is_voice(client) ? option.voice : path, (int)((client - clients) % option.hubs));
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                        where, port);
    client->state = SHAKING;
    watch(client, EPOLL_CTL_MOD, EPOLLIN);
    put(client, (uint8_t *)request, size);
}

/* What comes in: calls `got` for each data frame that counts. */

static void got(struct client *client, double at);
static void served(const uint8_t *payload, size_t size);
static void serve_all(void);

static void say_text(struct client *client, const char *text) {
    uint8_t whole[512];
    put(client, whole, frame(whole, (const uint8_t *)text, strlen(text), 1, true));
}

static void enter(struct client *client) {
    client->ready = true;
    opened++;
}

static bool begins(const uint8_t *payload, size_t size, const char *with) {
    size_t length = strlen(with);
    return size >= length && !memcmp(payload, with, length);
}

static void heard(struct client *client, const uint8_t *payload, size_t size, double at) {
    if (!client->ready) {
        if (begins(payload, size, option.ready)) enter(client);
    } else if (*option.ping && size == strlen(option.ping) && begins(payload, size, option.ping)) {
        say_text(client, option.pong);
    } else if (begins(payload, size, option.counts) && !is_voice(client)) {
        got(client, at);
    }
}

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
                heard(client, data + done + header, whole - header, at);
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
            if (*option.hello) say_text(client, option.hello);
            if (!*option.ready) enter(client);
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
        if (option.deliveries) note(round_began, at);
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
    while (opened < coming || (*kind == 'j' && counted < coming)) {
        long ready = *kind == 'j' ? counted : opened;
        while (begun < coming && begun - ready < option.connecting) begin(&clients[begun]);
        turn(100);
        if ((*kind == 'j' ? counted : opened) != ready) last = now();
        if (now() - last > 30 || gone) {
            fprintf(stderr, "%ld of %ld clients came in, %ld were closed\n", opened, coming, gone);
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
            if (client->state == GONE || at - client->sent[client->first % MOST_OUTSTANDING] < option.patience) continue;
            missing += client->under_way; /* what it waits for was lost */
            client->first += client->under_way;
            client->under_way = 0;
            while (client->under_way < option.outstanding) say(client, at);
        }
    }
}

/* Who speaks in a hub: its first client that is still there. */
static struct client *speaker(long hub) {
    if (*option.voice) return &clients[option.clients];
    for (long i = hub; i < option.clients; i += option.hubs)
        if (clients[i].state == OPEN) return &clients[i];
    return &clients[hub];
}

/* Goes on with a round of which so many frames have come: speaks in as many more hubs as the window allows. */
static long speak(long spoken, long came) {
    long done = came * option.hubs / (option.clients * option.burst);
    while (spoken < option.hubs && (!option.window || spoken < done + option.window))
        put(speaker(spoken++), burst, burst_size);
    return spoken;
}

static void run_rounds(double end) {
    double since[MOST_OUTSTANDING];
    long wanted[MOST_OUTSTANDING], first = 0, last = 0, spoken = 0, base = 0;
    counted = 0;
    while (true) {
        bool more = measuring && option.rounds ? last < option.rounds : now() < end;
        bool due = !last || now() - since[(last - 1) % MOST_OUTSTANDING] >= option.pause;
        if (more && due && last - first < option.ahead) {
            long before = first < last ? wanted[(last - 1) % MOST_OUTSTANDING] : counted;
            wanted[last % MOST_OUTSTANDING] = before + (option.clients - option.stalled - gone) * option.burst;
            since[last++ % MOST_OUTSTANDING] = round_began = now();
            base = before;
            spoken = speak(0, 0);
            continue;
        }
        if (first == last && !more) return;
        turn(first == last ? 1 : 10);
        if (first < last) spoken = speak(spoken, counted - base);
        for (; first < last && counted >= wanted[first % MOST_OUTSTANDING]; first++, rounds += measuring)
            if (!option.deliveries) note(since[first % MOST_OUTSTANDING], now());
        if (first < last && now() - since[first % MOST_OUTSTANDING] > option.patience) {
            missing += wanted[(last - 1) % MOST_OUTSTANDING] - counted; /* they were lost */
            first = last;
        }
    }
}

static void serve(void) {
    struct sockaddr_in here = address(port, 0);
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
    struct { const char *name; long *number; double *time; const char **text; } known[] = {
        {"clients", .number = &option.clients},   {"hubs", .number = &option.hubs},
        {"outstanding", .number = &option.outstanding}, {"burst", .number = &option.burst},
        {"ahead", .number = &option.ahead},       {"window", .number = &option.window},
        {"size", .number = &option.size},
        {"rounds", .number = &option.rounds},     {"connecting", .number = &option.connecting},
        {"stalled", .number = &option.stalled},   {"deliveries", .number = &option.deliveries},
        {"voice_port", .number = &option.voice_port},
        {"seconds", .time = &option.seconds},     {"warmup", .time = &option.warmup},
        {"pause", .time = &option.pause},         {"patience", .time = &option.patience},
        {"hello", .text = &option.hello},         {"ready", .text = &option.ready},
        {"prefix", .text = &option.prefix},       {"suffix", .text = &option.suffix},
        {"counts", .text = &option.counts},       {"ping", .text = &option.ping},
        {"pong", .text = &option.pong},           {"voice", .text = &option.voice},
    };
    for (int i = 0; i < count; i++) {
        char *value = strchr(words[i], '=');
        bool found = false;
        for (size_t k = 0; value && k < sizeof known / sizeof *known; k++) {
            if (strncmp(words[i], known[k].name, value - words[i]) || known[k].name[value - words[i]]) continue;
            if (known[k].number) *known[k].number = atol(value + 1);
            else if (known[k].time) *known[k].time = atof(value + 1);
            else *known[k].text = value + 1;
            found = true;
        }
        if (!found) {
            fprintf(stderr, "unknown option %s\n", words[i]);
            exit(2);
        }
    }
}

static void make_messages(void) {
    size_t prefix = strlen(option.prefix), suffix = strlen(option.suffix), size = prefix + option.size + suffix;
    uint8_t *payload = malloc(size);
    memcpy(payload, option.prefix, prefix);
    memset(payload + prefix, 'x', option.size);
    memcpy(payload + prefix + option.size, option.suffix, suffix);
    message = malloc(size + 16);
    message_size = frame(message, payload, size, 1, true);
    free(payload);
    burst_size = message_size * option.burst;
    burst = malloc(burst_size);
    for (long k = 0; k < option.burst; k++) memcpy(burst + k * message_size, message, message_size);
}

/* The processor time that this program has used. */
static double used(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
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
    if (option.outstanding > MOST_OUTSTANDING || option.ahead > MOST_OUTSTANDING || option.hubs > option.clients) {
        fprintf(stderr, "at most %d outstanding or ahead, and at most as many hubs as clients\n", MOST_OUTSTANDING);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(0);
    coming = option.clients + (*option.voice != 0);
    clients = calloc(coming, sizeof *clients);
    latencies = malloc(LATENCIES * sizeof *latencies);
    make_messages();
    if (*kind == 's') serve();

    double start = now();
    connect_all();
    double connected = now() - start;
    if (*kind == 'j' || *kind == 'h') {
        long there = *kind == 'j' ? counted : opened;
        printf("{\"clients\": %ld, \"seconds\": %.4f, \"rate\": %.1f}\n", there, connected, there / connected);
        fflush(stdout);
        while (*kind == 'h') turn(-1);
        return 0;
    }
    void (*run)(double) = *kind == 'e' ? run_echo : run_rounds;
    double quiet = now();
    while (now() - quiet < 0.5) turn(50); /* what joining set off */
    for (long i = option.clients - option.stalled; i < option.clients; i++)
        epoll_ctl(poller, EPOLL_CTL_DEL, clients[i].fd, NULL);
    run(now() + option.warmup);
    missing = 0;
    measuring = true;
    puts("measuring");
    fflush(stdout);
    start = now();
    double before = used();
    run(start + option.seconds);
    double took = now() - start, busy = (used() - before) / took;
    qsort(latencies, latency_count, sizeof *latencies, compare);
    printf("{\"clients\": %ld, \"frames\": %ld, \"rounds\": %ld, \"seconds\": %.4f, \"rate\": %.1f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"missing\": %ld, \"closed\": %ld, \"megabytes\": %.1f, "
           "\"busy\": %.3f}\n",
           opened, frames, rounds, took, frames / took, percentile(0.5), percentile(0.99), missing, gone,
           bytes_in / 1e6, busy);
    return 0;
}
