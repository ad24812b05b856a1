(select "transaction_id" as "c0",
(case when "amount" = 'NaN' then (left("amount"::text, 60) || ' in column ''amount'' does not fit decimal(18, 2)')::numeric else "amount" end)::numeric(18, 2) as "c1",
(case when "fee" is null or ("fee" = round("fee", 4) and abs("fee") < 1000000) then "fee" else (left("fee"::text, 60) || ' in column ''fee'' does not fit decimal(10, 4)')::numeric end)::numeric(10, 4) as "c2", textin(bpcharout("currency")) as "c3",
"reference"::text as "c4",
"tags" as "c5",
case when isfinite("settled on") or "settled on" is null then ("settled on" - date '1970-01-01') else (left("settled on"::text, 60) || ' in column ''settled on'' does not fit a column of type date')::int8 end as "c6",
case when isfinite("seen_at") and "seen_at" <= timestamp '294247-01-10 04:00:54.775806' or "seen_at" is null then (extract(epoch from "seen_at") * 1000000)::int8 else (left("seen_at"::text, 60) || ' in column ''seen_at'' does not fit a column of type timestamp')::int8 end as "c7",
case when isfinite("created_at") and "created_at" <= timestamptz '294247-01-10 04:00:54.775806+00' or "created_at" is null then (extract(epoch from "created_at") * 1000000)::int8 else (left("created_at"::text, 60) || ' in column ''created_at'' does not fit a column of type timestamptz')::int8 end as "c8",
coalesce((currency = 'XXX'
)::boolean, false) as "_datamart_deleted",
ctid as _datamart_ctid
from "public"."settlement"
where true and not (("amount" is not null and "amount" = 'NaN') or ("fee" is not null and not ("fee" = round("fee", 4) and abs("fee") < 1000000)) or coalesce(array_ndims("tags") > 1, false) or ("settled on" is not null and not (isfinite("settled on"))) or ("seen_at" is not null and not (isfinite("seen_at") and "seen_at" <= timestamp '294247-01-10 04:00:54.775806')) or ("created_at" is not null and not (isfinite("created_at") and "created_at" <= timestamptz '294247-01-10 04:00:54.775806+00')))) as _datamart_q
_datamart_ctid >= '(0,0)'::tid and _datamart_ctid < '(13334,0)'::tid
_datamart_ctid >= '(13334,0)'::tid and _datamart_ctid < '(26668,0)'::tid
_datamart_ctid >= '(26668,0)'::tid
set transaction isolation level repeatable read; set transaction snapshot '00000003-0000001B-1'; set local statement_timeout = '0'; set local idle_in_transaction_session_timeout = '0'; set local client_encoding = 'UTF8'; set local standard_conforming_strings = 'on'; set local quote_all_identifiers = 'off'; set local search_path = pg_catalog, public, pg_temp; set local TimeZone = 'UTC'; set local timezone_abbreviations = 'Default'; set local DateStyle = 'ISO, MDY'; set local IntervalStyle = 'iso_8601'; set local extra_float_digits = '1'; set local bytea_output = 'hex'; set local xmlbinary = 'base64'; set local xmloption = 'content'; set local lc_numeric = 'C'; set local lc_time = 'C'; set local array_nulls = 'on'; set local transform_null_equals = 'off'; set local row_security = 'off'; set local gin_fuzzy_search_limit = '0'; set local lock_timeout = '3000'; set local transaction_timeout = '0'; set local application_name = 'iceberg-datamart'
