-- Nothing like the seed: a schema name with a space, mixed case, composite keys, a uuid key, and most types.
create schema "Retail Ops";
create type "Retail Ops"."Tier Level" as enum ('gold', 'silver', 'it''s new');
create sequence "Retail Ops"."version numbers";
create sequence "Retail Ops"."key numbers" start 100;

create table "Retail Ops"."Customer" (
    "customerId"  uuid primary key,
    "Name"        varchar(60) not null,
    "Tier"        "Retail Ops"."Tier Level",
    "Balance"     numeric(30, 10),
    "Ratio"       numeric,
    "Tags"        text[],
    "Scores"      int[],
    "Weights"     numeric[],
    "Blob %"      bytea,
    "Prefs"       jsonb,
    "Doc"         json,
    "OpensAt"     time,
    "Cooldown"    interval,
    "Active"      boolean,
    "Rank"        smallint,
    "Heat"        real,
    "Load"        double precision,
    "bornOn"      date,
    "isGone"      boolean,
    "secret note" text,
    "changed At"  timestamptz
);

-- Its cursor is an integer that every write takes from a sequence.
create table "Retail Ops"."Order" (
    "storeNo"     integer,
    "orderNo"     bigint,
    "customerId"  uuid,
    "Status"      char(3),
    "Total"       numeric(12, 2),
    "placed"      timestamp,
    "version"     bigint,
    primary key ("storeNo", "orderNo")
);

-- Its cursor is the wall clock of New York, without a zone.
create table "Retail Ops"."order line" (
    "storeNo"  integer,
    "orderNo"  bigint,
    "lineNo"   smallint,
    "Sku"      text,
    "Qty"      integer,
    "status"   text,
    "touched"  timestamp,
    primary key ("storeNo", "orderNo", "lineNo")
);

-- Its cursor is a date.
create table "Retail Ops"."Shipment" (
    "shipId"     text primary key,
    "storeNo"    integer,
    "orderNo"    bigint,
    "lineNo"     smallint,
    "Carrier"    text,
    "shippedOn"  date
);

create function "Retail Ops".past(i bigint) returns timestamptz language sql immutable
    return timestamptz '2025-05-01 10:00:00.000007+00' + i * interval '7.000003 hours';

insert into "Retail Ops"."Customer"
    select md5('customer ' || i)::uuid, 'Näme "' || i || '" O''Neil \n', (array['gold', 'silver', 'it''s new', null])
            [1 + i % 4]::"Retail Ops"."Tier Level",
        1234567890123456789.0123456789 * (i - 20), nullif(i, 7) / 1000000000000.0,
        case i % 3 when 0 then array['a,b', null, '"q"'] when 1 then array[]::text[] end, array[i, null, -i]::int[],
        array[1.50, null, i]::numeric[], decode(md5(i::text), 'hex'), jsonb_build_object('k', i, 'n', null),
        '{"b": 1,  "a": [1, 2]}', time '23:59:59.000001' - i * interval '1 second', i * interval '1 month 3 days -00:00:01.5',
        nullif(i % 3, 2) = 1, (i - 20)::smallint, (array[0.1, 'NaN', 'Infinity', '-Infinity'])[1 + i % 4]::real,
        (array['NaN', 1e308, '-Infinity', 0.1])[1 + i % 4]::double precision, date '1969-12-25' + i::integer, i % 11 = 0,
        'never read', "Retail Ops".past(i)
    from generate_series(1, 40) as i;
insert into "Retail Ops"."Order"
    select 1 + i % 3, i, md5('customer ' || nullif(i % 45, 0))::uuid, 'ab', i * 1.11, timestamp '2025-03-30 02:30:00' + i * interval '1 hour',
        nextval('"Retail Ops"."version numbers"')
    from generate_series(1, 60) as i;
insert into "Retail Ops"."order line"
    select 1 + o % 3, o, l, 'sku ' || l, o % 5, null, "Retail Ops".past(o) at time zone 'America/New_York'
    from generate_series(1, 63) as o, generate_series(1, 2) as l where (o + l) % 4 > 0;
insert into "Retail Ops"."Shipment"
    select 'ship ' || i, 1 + i % 3, i, nullif(1 + i % 4, 4), 'carrier', date '2025-06-01' + i::integer
    from generate_series(1, 50) as i;
