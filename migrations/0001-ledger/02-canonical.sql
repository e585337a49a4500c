-- How values become bytes. Every function here pins search_path, so that nothing a caller creates can stand in for it.

-- RFC 3339, UTC, six fractional digits. NULL in, NULL out. Years outside 1–9999 are refused: PostgreSQL would print
-- "infinity" as NULL and years BC wrongly.
CREATE FUNCTION daybook.format_time(moment timestamptz) RETURNS text
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF moment >= '0001-01-01 00:00:00+00'::timestamptz AND moment < '10000-01-01 00:00:00+00'::timestamptz THEN
    RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
  END IF;
  IF moment IS NULL THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION 'time % lies outside the years 1 to 9999', moment USING ERRCODE = 'datetime_field_overflow';
END $$;

-- Sort key of RFC 8785: UTF-16 code units, big endian, as hexadecimal text.
CREATE FUNCTION daybook.utf16_sort_key(name text) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(string_agg(
    CASE WHEN point < 65536 THEN lpad(to_hex(point), 4, '0')
         ELSE to_hex(55296 + ((point - 65536) >> 10)) || to_hex(56320 + ((point - 65536) & 1023)) END, '' ORDER BY place), '')
  FROM (SELECT ascii(letter) AS point, place
        FROM regexp_split_to_table(name, '') WITH ORDINALITY AS letters (letter, place) WHERE letter <> '') AS points
$$;

-- RFC 8785 form of a JSON value whose numbers are integers within ±(2^53 − 1). Only entries written through plain SQL
-- need it; the service canonicalises before it sends.
CREATE FUNCTION daybook.canonical_json(value json) RETURNS text
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  number numeric;
BEGIN
  CASE json_typeof(value)
    WHEN 'object' THEN
      IF (SELECT count(*) <> count(DISTINCT key) FROM json_each(value)) THEN
        RAISE EXCEPTION 'a JSON object names one key twice' USING ERRCODE = 'invalid_parameter_value';
      END IF;
      RETURN (SELECT '{' || coalesce(string_agg(to_json(key)::text || ':' || daybook.canonical_json(member.value), ','
                ORDER BY daybook.utf16_sort_key(key) COLLATE "C"), '') || '}' FROM json_each(value) AS member);
    WHEN 'array' THEN
      RETURN (SELECT '[' || coalesce(string_agg(daybook.canonical_json(element.value), ',' ORDER BY place), '') || ']'
              FROM json_array_elements(value) WITH ORDINALITY AS element (value, place));
    WHEN 'string' THEN
      RETURN to_json(value #>> '{}')::text;
    WHEN 'number' THEN
      number := (value #>> '{}')::numeric;
      IF number <> trunc(number) OR abs(number) > 9007199254740991 THEN
        RAISE EXCEPTION 'number % in JSON: only integers within ±(2^53 − 1) have one exact form, write it as a string',
          left(value #>> '{}', 40) USING ERRCODE = 'invalid_parameter_value';
      END IF;
      RETURN trunc(number)::text;
    ELSE
      RETURN value::text;
  END CASE;
END $$;
