-- Schema 1 of the embedded store. One file holds many namespaces; every key begins with one.
-- Times: *_ms are milliseconds of the boot clock, *_us microseconds since 1970.

create table namespace (
    ns             integer primary key,
    name           text    not null unique,
    boot_id        text    not null,
    last_wall_us   integer not null,
    sequence       integer not null,
    last_ticket    integer not null,
    last_token     integer not null,
    token_ceiling  integer not null,
    safe_ceiling   integer not null,
    waiting        integer not null,
    queued         integer not null,
    lapsed         integer not null,
    has_backlog    integer not null,
    next_due_ms    integer not null,
    next_expiry_us integer not null,
    next_forget_ms integer not null,
    -- Who removed it, if nobody has used it since.
    removed        text
);

-- The epoch of each namespace: 32 random hexadecimal digits. A namespace that is made again has another one.
create table epoch (
    ns    integer primary key,
    epoch text not null
);

create table run (
    ns              integer not null,
    ticket          integer not null,
    id              text    not null,
    nonce           blob    not null,
    state           text    not null,
    present         integer not null,
    in_line         integer not null,
    lapsed          integer not null,
    revoked         integer not null,
    detached        integer not null,
    token           integer,
    deadline_ms     integer,
    began_ms        integer,
    wait_end_ms     integer,
    place_end_ms    integer,
    absent_since_ms integer,
    given_up_ms     integer,
    actor           text,
    forget_ms       integer,
    due_ms          integer,
    since_us        integer not null,
    input_versions  text    not null,
    parked          text,
    client          blob    not null,
    liveness         integer,
    origin          text    not null,
    ancestors       text    not null,
    spec            text    not null,
    -- 1: an attempt that was cancelled before it was seen.
    tombstone       integer not null default 0,
    primary key (ns, ticket)
) without rowid;
create unique index run_by_attempt on run (ns, id, nonce);
create index run_due on run (ns, due_ms, ticket) where due_ms is not null;
create index run_forget on run (ns, forget_ms, ticket) where forget_ms is not null;
-- At most one living run has an id.
create unique index run_living on run (ns, id) where forget_ms is null;
-- The same runs in the order of listings.
create index run_listed on run (ns, ticket) where forget_ms is null;
-- Waiting runs that lose their place in the queue when their process is silent.
create index run_reserving on run (ns, client, ticket)
    where present = 1 and place_end_ms is null and state in ('awaiting_input', 'queued');

-- mode: 0 shared, 1 exclusive, 2 units
create table hold (
    ns       integer not null,
    place    text    not null,
    lapsed   integer not null,
    mode     integer not null,
    ticket   integer not null,
    units    integer not null,
    capacity integer not null,
    primary key (ns, place, lapsed, mode, ticket)
) without rowid;

create index hold_capacity on hold (ns, place, lapsed, capacity) where mode = 2;

-- The sum of the units of a slot that are held.
create table units (
    ns     integer not null,
    place  text    not null,
    lapsed integer not null,
    units  integer not null,
    primary key (ns, place, lapsed)
) without rowid;

create table line (
    ns       integer not null,
    place    text    not null,
    mode     integer not null,
    ticket   integer not null,
    units    integer not null,
    capacity integer not null,
    primary key (ns, place, mode, ticket)
) without rowid;

create table parked (
    ns     integer not null,
    place  text    not null,
    ticket integer not null,
    primary key (ns, place, ticket)
) without rowid;

-- Runs to look at again. source says why: 1 + place (it is parked there), 2 (it alone), 3 + name (it is queued to
-- read a name whose record is gone), 4 + name (the name was written, and it may not overwrite it). A record's place is an 'a' and its name, so that entries sort as
-- the engine sorts them.
create table backlog (
    ns     integer not null,
    ticket integer not null,
    source text    not null,
    primary key (ns, ticket, source)
) without rowid;

-- Places where something changed: the runs that are parked there are in the backlog.
create table dirty (
    ns    integer not null,
    place text    not null,
    primary key (ns, place)
) without rowid;

create table record (
    ns            integer not null,
    name          text    not null,
    state         text    not null,
    version       integer not null,
    run           text    not null,
    job           text    not null,
    written_at_us integer not null,
    expires_at_us integer,
    note          text,
    made_from     text    not null,
    failure       text,
    actor         text,
    primary key (ns, name)
) without rowid;
create index record_due on record (ns, expires_at_us, name) where expires_at_us is not null;

create table guard (
    ns     integer not null,
    name   text    not null,
    ticket integer not null,
    primary key (ns, name, ticket)
) without rowid;

create table client (
    ns       integer not null,
    client   blob    not null,
    heard_ms integer not null,
    primary key (ns, client)
) without rowid;
create index client_heard on client (ns, heard_ms);

create table of_client (
    ns     integer not null,
    client blob    not null,
    ticket integer not null,
    primary key (ns, client, ticket)
) without rowid;
