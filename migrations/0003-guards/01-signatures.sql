-- What the database needs to judge a signed note, a tile and a proof by itself: the application's login alone does not make
-- a tree head. Only verification stands here, on public values, so nothing depends on how long it takes.

CREATE FUNCTION daybook.little_endian_number(bytes bytea) RETURNS numeric
  LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  value numeric := 0;
BEGIN
  FOR place IN REVERSE octet_length(bytes) - 1 .. 0 LOOP
    value := value * 256 + get_byte(bytes, place);
  END LOOP;
  RETURN value;
END $$;

-- The x of the point that 32 bytes encode (RFC 8032 §5.1.3); NULL for bytes that encode none, or one of small order, under
-- which one signature fits every message.
CREATE FUNCTION daybook.ed25519_x(point bytea) RETURNS numeric
  LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p constant numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  d constant numeric := 37095705934669439343138083508754565189542113879843219016388785533085940283555;
  root_of_minus_one constant numeric := 19681161376707505956807079304988542015446066515923890162744021073123829784752;
  y numeric := daybook.little_endian_number(set_bit(point, 255, 0));
  -- x² = u / v
  u numeric := mod(y * y + p - 1, p);
  v numeric := mod(d * mod(y * y, p) + 1, p);
  v_cubed numeric := mod(mod(v * v, p) * v, p);
  base numeric := mod(mod(u * mod(v_cubed * v_cubed, p), p) * v, p);
  x numeric := base;
BEGIN
  IF y >= p OR y IN (0, 1, p - 1,
       2707385501144840649318225287225658788936804267575313519463743609750303402022,
       55188659117513257062467267217118295137698188065244968500265048394206261417927) THEN
    RETURN NULL;
  END IF;
  -- base to the power (p − 5) / 8, which is 4 · (2^250 − 1) + 1
  FOR step IN 1..249 LOOP
    x := mod(mod(x * x, p) * base, p);
  END LOOP;
  x := mod(x * x, p);
  x := mod(mod(x * x, p) * base, p);
  x := mod(mod(u * v_cubed, p) * x, p);
  IF mod(v * mod(x * x, p), p) <> u THEN
    x := mod(x * root_of_minus_one, p);
    IF mod(v * mod(x * x, p), p) <> u THEN
      RETURN NULL;
    END IF;
  END IF;
  RETURN CASE WHEN mod(x, 2) = get_bit(point, 255) THEN x ELSE p - x END;
END $$;

-- Whether `signature` (64 bytes) of `message` is by `public_key` (32 bytes), as RFC 8032 §5.1.7 has it without the cofactor:
-- false for anything malformed. Takes about 5 ms.
CREATE FUNCTION daybook.verify_ed25519(public_key bytea, message bytea, signature bytea) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p constant numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  group_order constant numeric := 7237005577332262213973186563042994240857116359379907606001950938285454250989;
  d constant numeric := 37095705934669439343138083508754565189542113879843219016388785533085940283555;
  base_x constant numeric := 15112221349535400772501151409588531511454012693041857206046113283949847762202;
  base_y constant numeric := 46316835694926478169428394003475163141307993866256225615783033603165251855960;
  commitment constant bytea := substring(signature FROM 1 FOR 32);
  response constant bytea := substring(signature FROM 33);
  key_x numeric;
  key_y numeric;
  challenge numeric;
  -- Its digits to the base 65,536, lowest first.
  challenge_digits integer[] := '{}';
  -- What is added to the running point: 1 the base, 2 the key's negative, 3 both; as y − x, y + x, 2dt and 2z.
  less numeric[];
  more numeric[];
  turned numeric[];
  doubled numeric[];
  addend integer;
  x numeric := 0;
  y numeric := 1;
  z numeric := 1;
  a numeric;
  b numeric;
  c numeric;
  e numeric;
  f numeric;
  g numeric;
  h numeric;
BEGIN
  IF octet_length(public_key) <> 32 OR octet_length(signature) <> 64
     OR daybook.little_endian_number(response) >= group_order THEN
    RETURN false;
  END IF;
  key_x := p - daybook.ed25519_x(public_key);
  IF key_x IS NULL THEN
    RETURN false;
  END IF;
  key_y := daybook.little_endian_number(set_bit(public_key, 255, 0));
  challenge := mod(daybook.little_endian_number(sha512(commitment || public_key || message)), group_order);
  FOR place IN 0..15 LOOP
    challenge_digits := challenge_digits || mod(challenge, 65536)::integer;
    challenge := div(challenge, 65536);
  END LOOP;
  less := ARRAY[base_y - base_x + p, key_y - key_x + p];
  more := ARRAY[base_y + base_x, key_y + key_x];
  turned := ARRAY[mod(2 * d * mod(base_x * base_y, p), p), mod(2 * d * mod(key_x * key_y, p), p)];
  doubled := ARRAY[2, 2];
  -- Extended coordinates of "Twisted Edwards Curves Revisited" (Hisil and others, 2008), §3.1 and §3.3.
  a := mod(less[1] * less[2], p);
  b := mod(more[1] * more[2], p);
  c := mod(turned[1] * mod(key_x * key_y, p), p);
  e := b - a + p;
  f := 2 - c + p;
  g := 2 + c;
  h := b + a;
  less := less || mod(g * h - e * f, p) + p;
  more := more || mod(g * h + e * f, p);
  turned := turned || mod(2 * d * mod(e * h, p), p);
  doubled := doubled || 2 * mod(f * g, p);
  -- response · base − challenge · key, both scalars at once from the highest bit
  FOR place IN REVERSE 252..0 LOOP
    a := mod(x * x, p);
    b := mod(y * y, p);
    e := mod((x + y) * (x + y), p) - a - b + 2 * p;
    g := b - a + p;
    f := g - mod(2 * z * z, p) + p;
    h := 2 * p - a - b;
    x := mod(e * f, p);
    y := mod(g * h, p);
    z := mod(f * g, p);
    addend := get_bit(response, place) + 2 * ((challenge_digits[(place >> 4) + 1] >> (place & 15)) & 1);
    IF addend > 0 THEN
      c := mod(mod(e * h, p) * turned[addend], p);
      a := mod((y - x + p) * less[addend], p);
      b := mod((y + x) * more[addend], p);
      g := mod(z * doubled[addend], p);
      e := b - a + p;
      f := g - c + p;
      g := g + c;
      h := b + a;
      x := mod(e * f, p);
      y := mod(g * h, p);
      z := mod(f * g, p);
    END IF;
  END LOOP;
  -- 1 / z by Euclid's algorithm: a and b are the remainders, e and f their factors of z.
  a := p;
  b := z;
  e := 0;
  f := 1;
  WHILE b > 0 LOOP
    g := div(a, b);
    c := a - g * b;
    a := b;
    b := c;
    c := e - g * f;
    e := f;
    f := c;
  END LOOP;
  e := mod(e + p, p);
  RETURN daybook.little_endian_number(set_bit(commitment, 255, 0)) = mod(y * e, p)
    AND get_bit(commitment, 255) = mod(mod(x * e, p), 2);
END $$;

-- Root of the perfect tree over 2^n hashes that stand one after another (RFC 6962 §2.1). 0.1 ms for a tile.
CREATE FUNCTION daybook.perfect_tree_root(hashes bytea) RETURNS bytea
  LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  level bytea := hashes;
  above bytea;
BEGIN
  WHILE octet_length(level) > 32 LOOP
    above := '';
    FOR pair IN 0 .. octet_length(level) / 64 - 1 LOOP
      above := above || sha256('\x01'::bytea || substring(level FROM pair * 64 + 1 FOR 64));
    END LOOP;
    level := above;
  END LOOP;
  RETURN level;
END $$;

-- Whether `proof` (hashes one after another) shows that the tree of `to_size` leaves begins with that of `from_size` (RFC 9162
-- §2.1.4.2). The empty tree and equal sizes take no proof.
CREATE FUNCTION daybook.verify_consistency(
  from_size bigint, from_root bytea, to_size bigint, to_root bytea, proof bytea) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  node bigint := from_size - 1;
  last bigint := to_size - 1;
  hash bytea;
  earlier bytea;
  later bytea;
  place integer := 0;
BEGIN
  IF from_size > to_size OR octet_length(proof) % 32 <> 0 THEN
    RETURN false;
  ELSIF from_size = to_size OR from_size = 0 THEN
    RETURN octet_length(proof) = 0 AND (from_size <> to_size OR from_root = to_root);
  END IF;
  WHILE node % 2 = 1 LOOP
    node := node / 2;
    last := last / 2;
  END LOOP;
  IF node = 0 THEN
    earlier := from_root;
  ELSE
    earlier := substring(proof FROM 1 FOR 32);
    place := 1;
  END IF;
  later := earlier;
  WHILE place * 32 < octet_length(proof) LOOP
    hash := substring(proof FROM place * 32 + 1 FOR 32);
    place := place + 1;
    IF last = 0 THEN
      RETURN false;
    ELSIF node % 2 = 1 OR node = last THEN
      earlier := sha256('\x01'::bytea || hash || earlier);
      later := sha256('\x01'::bytea || hash || later);
      WHILE node % 2 = 0 AND node <> 0 LOOP
        node := node / 2;
        last := last / 2;
      END LOOP;
    ELSE
      later := sha256('\x01'::bytea || later || hash);
    END IF;
    node := node / 2;
    last := last / 2;
  END LOOP;
  RETURN last = 0 AND earlier = from_root AND later = to_root;
END $$;
