-- "${table}" as it was an hour ago; any instant with its time zone may stand there.
SELECT count(*) FROM "${table}" FOR TIMESTAMP AS OF (current_timestamp - interval '1' hour);
