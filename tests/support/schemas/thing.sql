-- Every type family, with the values that languages spell in different ways. :words are filled in.
create type mood as enum ('sad', 'so so');
create table thing (
    id :key, small int2, whole int4, big int8, truth bool, single float4, precise float8, price numeric(12, 4),
    tiny numeric(38, 12), words text, code char(5), short varchar(9), bytes bytea, uid uuid, doc jsonb, feeling mood,
    span interval, day date, clock time, local timestamp, instant timestamptz, numbers int4[], longs int8[],
    fractions float8[], truths bool[], names text[], grid int4[][], at timestamptz, primary key (id));
insert into thing
select :value, n, -n, n * 10000000000, n % 2 = 0, n / 3.0, n / 7.0, n / 9.0, n / 1000000.0, repeat('é', n % 5) || n,
    'c' || n, 'v' || n, decode(lpad(to_hex(n), 8, '0'), 'hex'), md5(n::text)::uuid,
    jsonb_build_object('n', n), case when n % 2 = 0 then 'sad'::mood else 'so so' end, n * interval '1 hour 1 second',
    date '1969-12-25' + n, time '00:00' + n * interval '1 minute',
    timestamp '1969-12-31 23:59:59.999999' + n * interval '1 day', timestamptz '2024-03-31 00:59:59.999999Z' + n *
    interval '20 minutes', array[n, null, -n], array[n::int8], array[n / 3.0, 'NaN', '-Infinity', 0, '-0'],
    array[true, null], array['a:1', 'N', null, ''], array[[n, 1], [2, 3]]
from generate_series(1, 300) as n;
update thing set at = timestamptz '2026-01-01 00:00Z' + whole * interval '1 minute';
update thing set single = 'NaN', precise = '-0', words = '', numbers = '{}', names = '{}' where :first = id;
update thing set single = '-Infinity', precise = 'Infinity', price = -0.5, tiny = -0.000000000001, truths = null,
    numbers = null, words = null, code = null, uid = null, bytes = '\x' where :second = id;
update thing set single = 1e-40, precise = 1e-310, tiny = 0, price = 99999999.9999, words = E'a\tb\n''"\\'
where :third = id;
