// Asks Go's own verifiers of notes, proofs and tiles (golang.org/x/mod/sumdb): one question a line on standard input,
// one answer a line on standard output, both JSON. It has no code of the product.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Tiles of the static layout have height 8; Go writes it into the path, the layout does not.
const tileHeight = 8

type question struct {
	Ask   string // "note", "record", "tree", "tiles" or "path"
	Note  []byte
	Keys  []string
	Proof [][]byte
	Size  int64
	Root  []byte
	// A record's index, or the size of the earlier tree.
	Index    int64
	Body     []byte
	FromRoot []byte
	Tiles    map[string][]byte
	Path     string
}

type answer struct {
	Accepted bool     `json:"accepted"`
	Error    string   `json:"error,omitempty"`
	Text     string   `json:"text,omitempty"`
	Signers  []string `json:"signers,omitempty"`
	Hashes   [][]byte `json:"hashes,omitempty"`
	Level    int      `json:"level"`
	Index    int64    `json:"index"`
	Width    int      `json:"width"`
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	questions := json.NewDecoder(lines)
	for questions.More() {
		var asked question
		if err := questions.Decode(&asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		given, err := judge(asked)
		given.Accepted = err == nil
		if err != nil {
			given = answer{Error: err.Error()}
		}
		if err := answers.Encode(given); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func judge(asked question) (answer, error) {
	switch asked.Ask {
	case "note":
		return openNote(asked)
	case "record":
		return checkRecord(asked)
	case "tree":
		return checkTree(asked)
	case "tiles":
		return readTiles(asked)
	case "path":
		tile, err := parsePath(asked.Path)
		return answer{Level: tile.L, Index: tile.N, Width: tile.W}, err
	}
	return answer{}, fmt.Errorf("nothing is known about %q", asked.Ask)
}

func openNote(asked question) (answer, error) {
	var known []note.Verifier
	for _, key := range asked.Keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return answer{}, err
		}
		known = append(known, verifier)
	}
	opened, err := note.Open(asked.Note, note.VerifierList(known...))
	if err != nil {
		return answer{}, err
	}
	given := answer{Text: opened.Text}
	for _, signature := range opened.Sigs {
		given.Signers = append(given.Signers, fmt.Sprintf("%s+%08x", signature.Name, signature.Hash))
	}
	return given, nil
}

func checkRecord(asked question) (answer, error) {
	proof, err := hashes(asked.Proof)
	if err != nil {
		return answer{}, err
	}
	root, err := hash(asked.Root)
	if err != nil {
		return answer{}, err
	}
	return answer{}, tlog.CheckRecord(proof, asked.Size, root, asked.Index, tlog.RecordHash(asked.Body))
}

func checkTree(asked question) (answer, error) {
	proof, err := hashes(asked.Proof)
	if err != nil {
		return answer{}, err
	}
	root, err := hash(asked.Root)
	if err != nil {
		return answer{}, err
	}
	fromRoot, err := hash(asked.FromRoot)
	if err != nil {
		return answer{}, err
	}
	return answer{}, tlog.CheckTree(proof, asked.Size, root, asked.Index, fromRoot)
}

// readTiles reads every record's hash through the tiles, each of which is verified against the root.
func readTiles(asked question) (answer, error) {
	root, err := hash(asked.Root)
	if err != nil {
		return answer{}, err
	}
	given := tiles{}
	for path, data := range asked.Tiles {
		tile, err := parsePath(path)
		if err != nil {
			return answer{}, err
		}
		given[tile] = data
	}
	indexes := make([]int64, asked.Size)
	for record := range indexes {
		indexes[record] = tlog.StoredHashIndex(0, int64(record))
	}
	read, err := tlog.TileHashReader(tlog.Tree{N: asked.Size, Hash: root}, given).ReadHashes(indexes)
	if err != nil {
		return answer{}, err
	}
	found := answer{}
	for _, one := range read {
		found.Hashes = append(found.Hashes, append([]byte(nil), one[:]...))
	}
	return found, nil
}

func parsePath(path string) (tlog.Tile, error) {
	inGo := strings.Replace(path, "tile/", fmt.Sprintf("tile/%d/", tileHeight), 1)
	return tlog.ParseTilePath(strings.Replace(inGo, "/entries/", "/data/", 1))
}

// tiles are the contents of a static layout.
type tiles map[tlog.Tile][]byte

func (given tiles) Height() int { return tileHeight }

func (given tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		data, ok := given[tile]
		if !ok {
			return nil, fmt.Errorf("there is no %s", tile.Path())
		}
		found = append(found, data)
	}
	return found, nil
}

func (given tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func hash(value []byte) (tlog.Hash, error) {
	var given tlog.Hash
	if len(value) != tlog.HashSize {
		return given, fmt.Errorf("a hash has %d bytes", len(value))
	}
	copy(given[:], value)
	return given, nil
}

func hashes(values [][]byte) ([]tlog.Hash, error) {
	var given []tlog.Hash
	for _, value := range values {
		one, err := hash(value)
		if err != nil {
			return nil, err
		}
		given = append(given, one)
	}
	return given, nil
}
