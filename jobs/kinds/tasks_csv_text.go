package kinds

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/warrenjobs/warren/jobs"
)

// byteOrderMark begins UTF-8 files of spreadsheets. Excel reads a CSV file as UTF-8 only with it.
const byteOrderMark = "\uFEFF"

// headSize is how much of a file tells its encoding, line ends and delimiter.
const headSize = 4 << 10

// csvText returns the text of a CSV file as UTF-8 without a byte order mark, with lines that end in LF
// or CRLF. It understands UTF-8, UTF-16 and lines that end in CR only.
func csvText(file io.Reader) (*bufio.Reader, error) {
	text := bufio.NewReaderSize(file, 64<<10)
	head, err := peek(text)
	if err != nil {
		return nil, err
	}
	begins := func(mark string) bool { return bytes.HasPrefix(head, []byte(mark)) }
	switch {
	case begins("PK\x03\x04"), begins("\xD0\xCF\x11\xE0"):
		return nil, jobs.Permanent(errors.New("the file is a workbook of a spreadsheet (such as .xlsx, .xls or .ods): save it as CSV"))
	case begins("\x1F\x8B"):
		return nil, jobs.Permanent(errors.New("the file is compressed: unpack it first"))
	case begins(byteOrderMark):
		_, _ = text.Discard(len(byteOrderMark))
	case begins("\xFF\xFE"), len(head) > 1 && head[1] == 0: // the names of the columns are ASCII
		text = utf16Text(text, unicode.LittleEndian)
	case begins("\xFE\xFF"), begins("\x00"):
		text = utf16Text(text, unicode.BigEndian)
	}
	if head, err = peek(text); err == nil && linesEndInCR(head) {
		text = bufio.NewReaderSize(lineFeeds{text}, headSize)
	}
	return text, err
}

// peek returns the beginning of the text without reading it.
func peek(text *bufio.Reader) ([]byte, error) {
	head, err := text.Peek(headSize)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return head, err
}

func utf16Text(file io.Reader, order unicode.Endianness) *bufio.Reader {
	return bufio.NewReaderSize(transform.NewReader(file, unicode.UTF16(order, unicode.UseBOM).NewDecoder()), headSize)
}

// linesEndInCR reports whether the first line ends in a CR without an LF, as in files of old Macs.
func linesEndInCR(head []byte) bool {
	end := bytes.IndexAny(head, "\r\n")
	return end >= 0 && head[end] == '\r' && !bytes.HasPrefix(head[end:], []byte("\r\n"))
}

// lineFeeds reads each CR as an LF, so that offsets stay the same.
type lineFeeds struct{ io.Reader }

func (l lineFeeds) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	for i, c := range p[:n] {
		if c == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// checkEncoding returns an error if the file has characters in another encoding than UTF-8 or UTF-16,
// so that nothing is imported of a file that must be saved anew. Which encoding it is cannot be told:
// a guess would change names silently. If a file has UTF-8 as well, only some lines are damaged, and
// those are refused one by one.
func checkEncoding(file io.Reader) error {
	text, err := csvText(file)
	if err != nil {
		return err
	}
	line, wrong := 1, 0
	for {
		char, size, err := text.ReadRune()
		switch {
		case errors.Is(err, io.EOF) && wrong > 0:
			return jobs.Permanent(fmt.Errorf("the file is not in UTF-8 (see line %d) but, it seems, in an older encoding such as "+
				"Windows-1252: save it as CSV UTF-8 and import it again. Nothing was imported", wrong))
		case errors.Is(err, io.EOF), size > 1:
			return nil
		case err != nil:
			return err
		case char == '\n':
			line++
		case char == utf8.RuneError && wrong == 0:
			wrong = line
		}
	}
}
